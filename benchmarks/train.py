"""Time of a training iteration, its share of data loading, and the ratio to torchvision's model of the same name.

    python benchmarks/train.py [--iterations 10] [--threads 2] [--workers 0] [--out benchmarks/results/train_cpu.json]

RetinaNet-R50 and Mask R-CNN-R50, batch 2, 320x320, the photographs under demo/. Ours and torchvision's alternate in
one process, iteration by iteration, on the same images, boxes and masks; figures are medians. Both freeze nothing and
train every batch norm.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torchvision.models import detection

import foveal
from foveal.config import load_config
from foveal.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parent.parent
SIZE = 320
Side = tuple[torch.nn.Module, Callable[[dict[str, Any]], torch.Tensor]]

# name: the shipped config, torchvision's function, whether it learns masks
MODELS_TIMED: dict[str, tuple[str, Callable[..., torch.nn.Module], bool]] = {
    "RetinaNet-R50": ("retinanet/retinanet_r50_fpn_1x_coco.py", detection.retinanet_resnet50_fpn, False),
    "Mask R-CNN-R50": ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", detection.maskrcnn_resnet50_fpn, True),
}
# the network alone: everything is trained, nothing is loaded
NETWORK = {"model.backbone.frozen_stages": -1, "model.backbone.norm_eval": False, "model.backbone.init_cfg": None}


def demo_images(with_mask: bool) -> Dataset[Any]:
    """Return the photographs under demo/ at the size of the benchmark."""
    return DATASETS.build(
        dict(
            type="CocoDataset",
            data_root=str(ROOT / "demo"),
            ann_file="annotations/instances.json",
            data_prefix=dict(img="images/"),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True, with_mask=with_mask),
                dict(type="Resize", scale=(SIZE, SIZE), keep_ratio=False),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PackInputs"),
            ],
        )
    )


def ours(config: str) -> Side:
    """Return our model and the function from a batch to its loss."""
    model = MODELS.build(load_config(ROOT / "configs" / config, NETWORK).model).train()

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        data = model.data_preprocessor(batch, training=True)
        return model.parse_losses(model(**data, mode="loss"))[0]

    return model, loss


def peer(build: Callable[..., torch.nn.Module], with_mask: bool) -> Side:
    """Return torchvision's model and the same function; its own transform keeps the size at 320."""
    model = build(
        weights=None, weights_backbone=None, num_classes=81 if with_mask else 80, min_size=SIZE, max_size=SIZE
    ).train()

    def target(sample: Any) -> dict[str, torch.Tensor]:
        truth = sample.gt_instances
        # torchvision's second stage counts the background as class 0
        found = {"boxes": truth.bboxes, "labels": truth.labels + int(with_mask)}
        return found | ({"masks": truth.masks.to(torch.uint8)} if with_mask else {})

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        images = [x.flip(0).float().div(255) for x in batch["inputs"]]
        return sum(model(images, [target(s) for s in batch["data_samples"]]).values())

    return model, loss


def iteration(
    optimizer: torch.optim.Optimizer, loss_of: Callable[[dict[str, Any]], torch.Tensor], batch: dict[str, Any]
) -> float:
    """Run forward, backward and step; return seconds."""
    start = time.perf_counter()
    optimizer.zero_grad()
    loss_of(batch).backward()
    optimizer.step()
    return time.perf_counter() - start


def compare(name: str, iterations: int, threads: int, workers: int) -> dict[str, Any]:
    """Return the figures of one model and its peer."""
    config, build, with_mask = MODELS_TIMED[name]
    dataset = demo_images(with_mask)
    loader = DataLoader(dataset, 2, shuffle=True, collate_fn=pseudo_collate, num_workers=workers, drop_last=True)
    sides = {}
    for side, (model, loss_of) in (("foveal", ours(config)), ("torchvision", peer(build, with_mask))):
        sides[side] = (torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9), loss_of)

    times: dict[str, list[float]] = {"data": [], "foveal": [], "torchvision": []}
    batches = iter(loader)
    for number in range(iterations + 2):  # two to warm up
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        data = time.perf_counter() - start
        # whoever is first in an iteration finds colder caches: take turns
        order = list(sides) if number % 2 else list(sides)[::-1]
        spent = {side: iteration(*sides[side], batch) for side in order}
        if number >= 2:
            times["data"].append(data)
            for side, seconds in spent.items():
                times[side].append(seconds)

    middle = {side: statistics.median(values) for side, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["foveal"], times["torchvision"], strict=True))
    return {
        "case": f"{name}, batch 2, {SIZE}x{SIZE}, {threads} threads, {workers} workers",
        "iteration_s": round(middle["foveal"] + middle["data"], 3),
        "model_s": round(middle["foveal"], 3),
        "data_s": round(middle["data"], 4),
        "data_share": round(middle["data"] / (middle["foveal"] + middle["data"]), 4),
        "torchvision_model_s": round(middle["torchvision"], 3),
        "ratio_to_torchvision": round(ratio, 3),
        "iterations": iterations,
        "torch": torch.__version__,
        "foveal": foveal.__version__,
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
    }


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--models", nargs="+", choices=list(MODELS_TIMED), default=list(MODELS_TIMED))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    results = [compare(name, args.iterations, args.threads, args.workers) for name in args.models]
    table = Table("figure", *(result["case"] for result in results))
    for key in results[0]:
        if key != "case":
            table.add_row(key, *(str(result[key]) for result in results))
    Console().print(table)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
