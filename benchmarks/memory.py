"""Memory of a training step by batch and size, and what checkpointing of activations saves.

    python benchmarks/memory.py [retinanet …] [--sizes 320 480] [--batches 1 2] [--out FILE.json]

Each case in a process of its own: forward pass with its losses, backward pass and a step of SGD with momentum, twice,
on noise with two boxes an image. The peak is that of the second step, above what the process had before the model was
built: on a GPU what torch allocated, else the resident memory that Linux counted. With ``with_cp`` the backbone keeps
the inputs of its blocks alone and computes the rest again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
from pathlib import Path
from typing import Any

import torch
from noise import batch
from rich.console import Console
from rich.table import Table

import foveal
from foveal.config import load_config
from foveal.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {
    "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "mask_rcnn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "mask_rcnn_swin": "swin/mask-rcnn_swin-tiny_fpn_1x_coco.py",
    "segformer": "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
}
# a small block from the heap is mapped, so that what is freed is given back and the count follows what is held
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def highest() -> int:
    """Return the largest `resident` since the count was set back."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def peak(name: str, count: int, size: int, with_cp: bool) -> int:
    """Return the bytes that a step holds at most, weights and the optimiser's state included."""
    node = load_config(ROOT / "configs" / CONFIGS[name]).model
    node.backbone.pop("init_cfg", None)
    node.backbone.with_cp = with_cp
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 64, 64)).sum().backward()  # loads what every model needs
    before = resident()
    model: Any = MODELS.build(node).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    for _ in range(2):
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")
        data = model.data_preprocessor(batch(model, count, size, classes=150), training=True)
        loss = model.parse_losses(model(**data, mode="loss"))[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cuda.max_memory_allocated() if device == "cuda" else highest() - before


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(CONFIGS), metavar="METHOD", help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 480])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ.update(ALLOCATOR)
    processes = multiprocessing.get_context("spawn")
    rows = []
    table = Table("method", "images", "size", "step", "with_cp", "saved")
    for name in args.methods:
        for count in args.batches:
            for size in args.sizes:
                with processes.Pool(1, maxtasksperchild=1) as pool:
                    plain, cheap = (pool.apply(peak, (name, count, size, with_cp)) for with_cp in (False, True))
                rows.append(
                    {
                        "method": name,
                        "batch_size": count,
                        "size": size,
                        "step_mib": round(plain / 2**20),
                        "with_cp_mib": round(cheap / 2**20),
                        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
                        "torch": torch.__version__,
                        "foveal": foveal.__version__,
                        "machine": f"{platform.machine()}, {platform.system()}",
                    }
                )
                saved = f"{1 - cheap / plain:.0%}"
                cells = (name, count, f"{size} x {size}", f"{plain / 2**20:.0f} MiB", f"{cheap / 2**20:.0f} MiB", saved)
                table.add_row(*map(str, cells))
    Console().print(table)
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
