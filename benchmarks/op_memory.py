"""Memory of the operators beside what a user would otherwise pick, on a CPU.

    python benchmarks/op_memory.py [neighborhood_attention …] [--threads 2] [--out FILE.json]

The memory of a call is the largest growth of the process while it runs, as Linux counts it, less the result that is
left: what is held for the sake of the computation. Of several calls the least is taken, for the count also holds what
the process does by itself. The cases are those of benchmarks/ops.py.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# what the allocator gives out from this size on it takes from the system and gives back; read when a process starts
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
MIB = 2**20


def status(name: str) -> int:
    """Return a number of bytes out of Linux's account of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def growth(call: Callable[[], Any]) -> int:
    """Return the bytes that the process has more of at most while a call runs, less its results."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
    before = status("VmRSS")
    result = call()
    peak = status("VmHWM") - before
    return peak - sum(tensor.numel() * tensor.element_size() for tensor in tensors(result))


def tensors(result: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a result."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for item in result:
            yield from tensors(item)


def least(call: Callable[[], Any], calls: int = 7) -> float:
    """Return the least growth of several calls in MiB; the first one is not counted."""
    call()
    return round(max(0, min(growth(call) for _ in range(calls))) / MIB, 2)


def main() -> None:
    """Measure, print a table for each operator, write the results."""
    names = sorted(path.stem for path in (HERE / "op_cases").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("operators", nargs="*", default=names, help=", ".join(names))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not ALLOCATOR.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    console = Console(width=160)
    results: dict[str, Any] = {}
    for name in args.operators:
        rows = []
        for case in importlib.import_module(f"op_cases.{name}").cases("cpu"):
            ours, peer = least(case["ours"]), least(case["peer"])
            row = {"case": case["case"], "pass": case["pass"], "peer": case["peer_name"]}
            row |= {"ours_mib": ours, "peer_mib": peer, "share": round(ours / peer, 3) if peer else None}
            rows.append(row)
            console.print(row, highlight=False)
        results[name] = rows
        table = Table(*rows[0], title=f"{name}, cpu, {args.threads} threads")
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print(table)
    if args.out is not None:
        setting = {"torch": torch.__version__, "device": platform.processor() or platform.machine()}
        content = {"setting": setting | {"threads": args.threads}, "operators": results}
        args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
