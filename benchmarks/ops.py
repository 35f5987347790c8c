"""Speed of the operators beside what a user would otherwise pick.

    python benchmarks/ops.py [neighborhood_attention …] [--threads 2] [--repeats 15] [--device cpu] [--out FILE.json]

Ours and the peer alternate in one process, repeat by repeat; a ratio is the median of the pairs' ratios, above 1 where
ours is faster. The cases of an operator are in benchmarks/op_cases/<operator>.py; their memory is measured by
benchmarks/op_memory.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def timed(call: Callable[[], Any], device: str) -> float:
    """Return the seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, device: str) -> dict[str, float]:
    """Return medians in milliseconds and the median of the pairs' ratios, peer by ours."""
    for call in (ours, peer, ours, peer):
        call()
    pairs = []
    for number in range(repeats):
        order = (ours, peer) if number % 2 else (peer, ours)
        seconds = {call: timed(call, device) for call in order}
        pairs.append((seconds[ours], seconds[peer]))
    return {
        "ours_ms": round(1e3 * statistics.median(mine for mine, _ in pairs), 3),
        "peer_ms": round(1e3 * statistics.median(other for _, other in pairs), 3),
        "ratio": round(statistics.median(other / mine for mine, other in pairs), 2),
    }


def copy_bandwidth(device: str) -> float:
    """Return the bytes a second of a large copy, read and written."""
    source = torch.rand(2**24, device=device)
    target = torch.empty_like(source)
    best = min(timed(lambda: target.copy_(source), device) for _ in range(10))
    return 2 * source.numel() * 4 / best


def main() -> None:
    """Measure, print a table for each operator, write the results."""
    names = sorted(path.stem for path in (HERE / "op_cases").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("operators", nargs="*", default=names, help=", ".join(names))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    console = Console(width=160)
    bandwidth = copy_bandwidth(args.device)
    console.print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s")
    results: dict[str, Any] = {}
    for name in args.operators:
        rows = []
        for case in importlib.import_module(f"op_cases.{name}").cases(args.device):
            row = {"case": case["case"], "pass": case["pass"], "peer": case["peer_name"]}
            row |= compare(case["ours"], case["peer"], args.repeats, args.device)
            if "bytes" in case:
                row["share_of_copy"] = round(case["bytes"] / (row["ours_ms"] / 1e3) / bandwidth, 3)
            if "flops" in case:
                row["gflops_per_s"] = round(case["flops"] / (row["ours_ms"] / 1e3) / 1e9, 1)
            rows.append(row | case.get("facts", {}))
            console.print(rows[-1], highlight=False)
        results[name] = rows
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(*columns, title=f"{name}, {args.device}, {args.threads} threads")
        for row in rows:
            table.add_row(*[str(row.get(column, "")) for column in columns])
        console.print(table)
    if args.out is not None:
        device = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
        setting = {"torch": torch.__version__, "device": device, "threads": args.threads, "repeats": args.repeats}
        content = {"setting": setting, "copy_gb_per_s": round(bandwidth / 1e9, 1), "operators": results}
        args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
