"""Where the time of a training run goes: the network's, the data's, and the rest.

    python benchmarks/loops.py [retinanet …] [--iterations 20] [--threads 2] [--workers 0] [--out FILE.json]

Whole runs of `foveal.engine.Runner` as `foveal train` starts them, with hooks, log and checkpoints, on the photographs
under demo/: batch 2, 320 x 320 pixels (CFSR: patches of 128 x 128, to twice that). An iteration is split into the
network (forward pass with its losses, backward pass, step of the optimiser), the wait for the data, what the data
preprocessor does, and the rest: hooks, schedules, log. Shares of the median iteration; the first two do not count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from rich.console import Console
from rich.table import Table

import foveal
from foveal.config import load_config
from foveal.engine.runner import Runner

ROOT = Path(__file__).resolve().parent.parent
SIZE = (320, 320)
COCO = {
    "type": "CocoDataset",
    "data_root": str(ROOT / "demo"),
    "ann_file": "annotations/instances.json",
    "data_prefix": {"img": "images/"},
    "filter_cfg": {"filter_empty_gt": True},
}
LOAD = {"type": "LoadImageFromFile"}
FIXED: list[dict[str, Any]] = [
    {"type": "Resize", "scale": SIZE, "keep_ratio": False},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PackInputs"},
]
CLASSES = {"model.decode_head.num_classes": 133, "model.auxiliary_head.num_classes": 133}
# method: its config, what is changed in it, and data of demo/
LOOPS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "retinanet": (
        "retinanet/retinanet_r50_fpn_1x_coco.py",
        {},
        {**COCO, "pipeline": [LOAD, {"type": "LoadAnnotations", "with_bbox": True}, *FIXED]},
    ),
    "mask_rcnn": (
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        {},
        {**COCO, "pipeline": [LOAD, {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True}, *FIXED]},
    ),
    "upernet": (
        "upernet/upernet_r50_4xb4-160k_ade20k-512x512.py",
        CLASSES,
        {
            "type": "SegFolderDataset",
            "ann_file": str(ROOT / "demo/annotations/segmentor.txt"),
            "data_prefix": {
                "img_path": str(ROOT / "demo/images"),
                "seg_map_path": str(ROOT / "demo/annotations/semantic"),
            },
            "metainfo": {"classes": str(ROOT / "demo/annotations/semantic_classes.txt")},
            "pipeline": [LOAD, {"type": "LoadAnnotations"}, *FIXED],
        },
    ),
    "cfsr": (
        "cfsr/cfsr_x2_set5.py",
        {},
        {
            "type": "RestorationDataset",
            "data_prefix": {"gt": str(ROOT / "demo/images")},
            "scale": 2,
            "pipeline": [
                {"type": "LoadImageFromFile", "key": "gt_img"},
                {"type": "PairedRandomCrop", "gt_patch_size": 256, "scale": 2},
                {"type": "Flip", "keys": "gt_img"},
                {"type": "MATLABLikeResize", "scale": 0.5},
                {"type": "PackInputs"},
            ],
        },
    ),
}


class First(Hook):
    """Notes when an iteration's batch is there, before all other hooks."""

    priority = "VERY_HIGH"

    def __init__(self, times: dict[str, list[float]]) -> None:
        self.times = times

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Open the iteration's account."""
        for key in ("network", "preprocess"):
            self.times[key].append(0.0)
        self.times["start"].append(time.perf_counter())


class Last(Hook):
    """Notes when an iteration is done with, after all other hooks."""

    priority = "VERY_LOW"

    def __init__(self, times: dict[str, list[float]]) -> None:
        self.times = times

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Close it."""
        self.times["end"].append(time.perf_counter())


def timed(owner: Any, name: str, spent: list[float]) -> None:
    """Add the time of each call of a method to the last entry of ``spent``, of one within another only the outer's."""
    method = getattr(owner, name)
    depth = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        depth += 1
        begun = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            depth -= 1
            if depth == 0:
                spent[-1] += time.perf_counter() - begun

    setattr(owner, name, wrapped)


def run(name: str, iterations: int, workers: int) -> dict[str, list[float]]:
    """Train for some iterations and return the seconds of each part, an entry an iteration."""
    path, options, data = LOOPS[name]
    config = load_config(ROOT / "configs" / path, options)
    config.model.get("backbone", {}).pop("init_cfg", None)
    sampler = {"type": "InfiniteSampler", "shuffle": True}
    own = {"batch_size": 2, "num_workers": workers, "persistent_workers": workers > 0, "sampler": sampler}
    config.train_dataloader = {**own, "dataset": data}
    config.train_cfg = {"by_epoch": False, "max_iters": iterations + 2, "val_interval": iterations + 10}
    for key in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator"):
        config[key] = None
    if config.get("optim_wrapper") is None:
        config.optim_wrapper = {"type": "OptimWrapper", "optimizer": {"type": "Adam", "lr": 1e-4}}
    times: dict[str, list[float]] = {key: [] for key in ("start", "end", "network", "preprocess")}
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner: Any = Runner.from_cfg(config)
        runner.register_hook(First(times))
        runner.register_hook(Last(times))
        timed(runner.model, "forward", times["network"])
        timed(runner.model.data_preprocessor, "forward", times["preprocess"])
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        timed(runner.optim_wrapper, "update_params", times["network"])
        runner.train()
    return times


def measure(name: str, iterations: int, workers: int) -> dict[str, Any]:
    """Return a method's median iteration and what share of it each part has."""
    times = run(name, iterations, workers)
    # from the end of one iteration to the end of the next: the wait for the batch is between end and start
    whole = [end - before for before, end in itertools.pairwise(times["end"])][1:]
    wait = [start - before for before, start in zip(times["end"], times["start"][1:], strict=False)][1:]
    network, preprocess = times["network"][2:], times["preprocess"][2:]
    rest = [w - d - n - p for w, d, n, p in zip(whole, wait, network, preprocess, strict=True)]
    middle = statistics.median(whole)
    parts = {"network": network, "data": wait, "preprocess": preprocess, "rest": rest}
    shares = {f"{part}_share": round(statistics.median(values) / middle, 4) for part, values in parts.items()}
    return {
        "method": name,
        "iteration_s": round(middle, 3),
        **shares,
        "outside_share": round(statistics.median([w - n for w, n in zip(whole, network, strict=True)]) / middle, 4),
        "iterations": len(whole),
        "workers": workers,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "foveal": foveal.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(LOOPS), metavar="METHOD", help=f"of {', '.join(LOOPS)}")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [measure(name, args.iterations, args.workers) for name in args.methods]
    table = Table("method", "iteration", "network", "data", "preprocess", "rest", "outside the network")
    for row in rows:
        shares = [f"{row[f'{part}_share']:.1%}" for part in ("network", "data", "preprocess", "rest", "outside")]
        table.add_row(row["method"], f"{row['iteration_s']:.3f} s", *shares)
    Console().print(table)
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
