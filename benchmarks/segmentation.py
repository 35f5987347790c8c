"""A segmentor's training iteration, the share of resizing and loss in it, and the memory of labelling a large image.

    python benchmarks/segmentation.py [--iterations 10] [--threads 2] [--out benchmarks/results/segmentation_cpu.json]

UPerNet-R50, SegFormer-B0 and PP-MobileSeg-tiny as configured for ADE20K, random images of 256 x 256, batch 2, 150
classes; the auxiliary head counts as network. The share is that of resizing the logits to the labels, the loss and both
their gradients, timed by themselves in the same iterations. The memory is the largest growth of the process while an
image of 1024 x 2048 is labelled whole, and in strips of 64 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from op_memory import ALLOCATOR, MIB, growth
from rich.console import Console
from rich.table import Table

from foveal.config import load_config
from foveal.registry import MODELS
from foveal.structures import DataSample

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
NAMES = {
    "UPerNet-R50": "upernet/upernet_r50_4xb4-160k_ade20k-512x512.py",
    "SegFormer-B0": "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
    "PP-MobileSeg-tiny": "pp_mobileseg/pp_mobileseg_tiny_2xb16-80k_ade20k-512x512.py",
}
SIDE, BATCH, CLASSES = 256, 2, 150
LARGE, STRIP = (1024, 2048), 64


def build(name: str) -> Any:
    """Return a config's model with random weights."""
    model = load_config(CONFIGS / NAMES[name]).model
    model.pop("pretrained", None)
    model.backbone.pop("init_cfg", None)
    model.backbone.pop("pretrained", None)
    return MODELS.build(model)


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def training(model: Any, iterations: int) -> dict[str, Any]:
    """Return the time of an iteration and the share of resizing and loss."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    x = torch.randn(BATCH, 3, SIDE, SIDE)
    samples = [DataSample(gt_sem_seg=PixelData(data=torch.randint(0, CLASSES, (1, SIDE, SIDE)))) for _ in range(BATCH)]
    # what the heads give is of one size, so the values do not matter here
    logits = model(x, mode="tensor").detach()

    def whole() -> None:
        optimizer.zero_grad()
        losses = model(x, samples, mode="loss")
        sum(value for key, value in losses.items() if "loss" in key).backward()
        optimizer.step()

    def tail() -> None:
        losses = model.decode_head.loss_by_feat(logits.detach().requires_grad_(), samples)
        sum(value for key, value in losses.items() if "loss" in key).backward()

    times: dict[str, list[float]] = {"iteration": [], "tail": []}
    for number in range(iterations + 2):  # two to warm up
        spent = {"iteration": seconds(whole), "tail": seconds(tail)}
        if number >= 2:
            for key, value in spent.items():
                times[key].append(value)
    middle = {key: statistics.median(values) for key, values in times.items()}
    return {
        "iteration_s": round(middle["iteration"], 3),
        "resize_and_loss_s": round(middle["tail"], 4),
        "share": round(statistics.median(b / a for a, b in zip(*times.values(), strict=True)), 4),
    }


def memory(model: Any) -> dict[str, int]:
    """Return the MiB that labelling a large image takes, whole and in strips."""
    model.eval()
    x = torch.randn(1, 3, *LARGE)
    found = {}
    with torch.no_grad():
        model(x[..., :128, :128], mode="predict")  # what is made at the first call
        for key, rows in (("whole_mib", None), ("strips_mib", STRIP)):
            model.test_cfg = {**model.test_cfg, "mode": "whole", "strip_rows": rows}
            found[key] = round(growth(lambda: model(x, mode="predict")) / MIB)
        found["network_mib"] = round(growth(lambda: model(x, mode="tensor")) / MIB)
    return found


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not ALLOCATOR.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows = []
    for name in args.models:
        model = build(name)
        rows.append({"model": name, **training(model, args.iterations), **memory(model)})
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=120).print(table)
    if args.out is not None:
        setting = {"torch": torch.__version__, "device": platform.processor() or platform.machine()}
        setting |= {"threads": args.threads, "iterations": args.iterations}
        args.out.write_text(json.dumps({"setting": setting, "models": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
