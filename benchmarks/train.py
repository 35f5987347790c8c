"""Time of a training iteration, its share of data loading, and the ratio to torchvision's model of the same name.

    python benchmarks/train.py [--iterations 10] [--threads 2] [--workers 0] [--out benchmarks/results/train_cpu.json]

RetinaNet-R50, batch 2, 320x320, the photographs under demo/. Ours and torchvision's alternate in one process, iteration
by iteration, on the same images and boxes; figures are medians. Both freeze nothing and train every batch norm.
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
import torchvision
from mmengine.dataset import pseudo_collate
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

import foveal
from foveal.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parent.parent
SIZE = 320

MODEL: dict[str, Any] = dict(
    type="RetinaNet",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type="ResNet", depth=50, norm_cfg=dict(type="BN"), norm_eval=False),
    neck=dict(type="FPN", out_channels=256, start_level=1, add_extra_convs="on_output", num_outs=5),
    bbox_head=dict(
        type="RetinaHead",
        num_classes=80,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
    ),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=100
    ),
)
DATASET: dict[str, Any] = dict(
    type="CocoDataset",
    data_root=str(ROOT / "demo"),
    ann_file="annotations/instances.json",
    data_prefix=dict(img="images/"),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True),
        dict(type="Resize", scale=(SIZE, SIZE), keep_ratio=False),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackInputs"),
    ],
)


def ours() -> tuple[torch.nn.Module, Callable[[dict[str, Any]], torch.Tensor]]:
    """Return our model and the function from a batch to its loss."""
    model = MODELS.build(MODEL).train()

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        data = model.data_preprocessor(batch, training=True)
        return model.parse_losses(model(**data, mode="loss"))[0]

    return model, loss


def peer() -> tuple[torch.nn.Module, Callable[[dict[str, Any]], torch.Tensor]]:
    """Return torchvision's model and the same function; its own transform keeps the size at 320."""
    model = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=80, min_size=SIZE, max_size=SIZE
    ).train()

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        images = [x.flip(0).float().div(255) for x in batch["inputs"]]
        targets = [{"boxes": s.gt_instances.bboxes, "labels": s.gt_instances.labels} for s in batch["data_samples"]]
        return sum(model(images, targets).values())

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


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    dataset = DATASETS.build(DATASET)
    loader = DataLoader(dataset, 2, shuffle=True, collate_fn=pseudo_collate, num_workers=args.workers, drop_last=True)
    sides = {}
    for name, build in (("foveal", ours), ("torchvision", peer)):
        model, loss_of = build()
        sides[name] = (torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9), loss_of)

    times: dict[str, list[float]] = {"data": [], "foveal": [], "torchvision": []}
    batches = iter(loader)
    for number in range(args.iterations + 2):  # two to warm up
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        data = time.perf_counter() - start
        # whoever is first in an iteration finds colder caches: take turns
        order = list(sides) if number % 2 else list(sides)[::-1]
        spent = {name: iteration(*sides[name], batch) for name in order}
        if number >= 2:
            times["data"].append(data)
            for name, seconds in spent.items():
                times[name].append(seconds)

    middle = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["foveal"], times["torchvision"], strict=True))
    result = {
        "case": f"RetinaNet-R50, batch 2, {SIZE}x{SIZE}, {args.threads} threads, {args.workers} workers",
        "iteration_s": round(middle["foveal"] + middle["data"], 3),
        "model_s": round(middle["foveal"], 3),
        "data_s": round(middle["data"], 4),
        "data_share": round(middle["data"] / (middle["foveal"] + middle["data"]), 4),
        "torchvision_model_s": round(middle["torchvision"], 3),
        "ratio_to_torchvision": round(ratio, 3),
        "iterations": args.iterations,
        "torch": torch.__version__,
        "foveal": foveal.__version__,
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
    }
    table = Table("figure", "value", title=result["case"])
    for key, value in result.items():
        if key != "case":
            table.add_row(key, str(value))
    Console().print(table)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
