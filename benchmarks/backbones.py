"""Size and speed of backbones, beside timm's network of the same name where timm has it.

    python benchmarks/backbones.py 'convnext_t*' shvit_s1 [--batches 1 16] [--modes eager channels_last compiled]
                                   [--size 224] [--threads 2] [--repeats 10] [--out benchmarks/results/backbones.json]

Images/s of the classification network's forward pass, in eval mode, without gradients. Ours and timm's alternate in
one process, repeat by repeat, on the same images; the ratio is the median of the pairs' ratios, above 1 where ours
is faster. Parameters and FLOPs (multiply-adds counted as two, by torch.utils.flop_counter) are at the given size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import foveal

TIMM = {
    "inceptionnext_": "inception_next_",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "mobilenet_v2": "mobilenetv2_100",
}
MODES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "eager": lambda model: model.to(memory_format=torch.contiguous_format),
    "channels_last": lambda model: model.to(memory_format=torch.channels_last),
    "compiled": lambda model: torch.compile(model.to(memory_format=torch.contiguous_format)),
}


def timm_name(name: str) -> str | None:
    """Return timm's name of a network of ours, or None."""
    for ours, theirs in TIMM.items():
        name = name.replace(ours, theirs) if name.startswith(ours) else name
    return name if timm.is_model(name) else None


def seconds(model: nn.Module, x: Tensor) -> float:
    """Return the time of one forward pass."""
    start = time.perf_counter()
    model(x)
    return time.perf_counter() - start


def measure(name: str, batch: int, mode: str, size: int, repeats: int) -> dict[str, Any]:
    """Return images/s of ours and, where it exists, of timm's, and the median ratio."""
    x = torch.rand(batch, 3, size, size)
    if mode == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    sides = {"foveal": MODES[mode](foveal.create_classifier(name).eval())}
    peer = timm_name(name)
    if peer is not None:
        sides["timm"] = MODES[mode](timm.create_model(peer).eval())
    for model in sides.values():
        for _ in range(2):
            model(x)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            times[side].append(seconds(sides[side], x))
    row: dict[str, Any] = {"name": name, "batch": batch, "mode": mode}
    row |= {f"{side}_images_per_s": round(batch / statistics.median(values), 2) for side, values in times.items()}
    if peer is not None:
        pairs = zip(times["timm"], times["foveal"], strict=True)
        row["timm_name"] = peer
        row["speed_ratio"] = round(statistics.median(theirs / ours for theirs, ours in pairs), 3)
    return row


def size_of(name: str, size: int) -> dict[str, Any]:
    """Return parameters (millions) and FLOPs (thousand millions) of the classification network."""
    model = foveal.create_classifier(name).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, size, size))
    return {
        "params_m": round(sum(p.numel() for p in model.parameters()) / 1e6, 3),
        "gflops": round(counter.get_total_flops() / 1e9, 3),
    }


@torch.inference_mode()
def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["*"], help="names of foveal.list_backbones, wildcards allowed")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    console = Console()
    rows = []
    for name in foveal.list_backbones():
        if not any(fnmatchcase(name, pattern) for pattern in args.names):
            continue
        size = size_of(name, args.size)
        for batch in args.batches:
            for mode in args.modes:
                row = measure(name, batch, mode, args.size, args.repeats)
                rows.append({**row, **size})
                console.print(rows[-1], highlight=False)
                torch.compiler.reset()
    columns = ["name", "params_m", "gflops", "batch", "mode", "foveal_images_per_s", "timm_images_per_s", "speed_ratio"]
    table = Table(*columns, title=f"{args.size} px, {args.threads} threads, median of {args.repeats}")
    for row in rows:
        table.add_row(*[str(row.get(column, "")) for column in columns])
    console.print(table)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        setting = {"size": args.size, "threads": args.threads, "repeats": args.repeats, "torch": torch.__version__}
        args.out.write_text(
            json.dumps({"setting": {**setting, "timm": timm.__version__}, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
