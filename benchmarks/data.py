"""Images a second of a training pipeline, beside the same recipe in torchvision's transforms v2.

    python benchmarks/data.py [1x lsj ssd] [--repeats 5] [--out benchmarks/results/data_cpu.json]

The pipelines are those of the shipped configs, on the photographs under demo/, one process with one thread: what one
worker of a loader does. Ours and torchvision's alternate, pass by pass over all images; the ratio is the median of the
passes'. Both read files, decode, change image, boxes and masks, and end with tensors of bytes. The share of a transform
is that of the time in ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

from foveal.config import load_config
from foveal.registry import DATASETS

ROOT = Path(__file__).resolve().parent.parent
IMAGES, TRUTH = ROOT / "demo" / "images", "annotations/instances.json"
GRAY = [124, 116, 104]

# recipe: the config that has it, whether with masks, and torchvision's form of it after decoding and before the end
RECIPES: dict[str, tuple[str, bool, list[Callable[..., Any]]]] = {
    "1x": (
        "_base_/datasets/coco_instance.py",
        True,
        [v2.RandomShortestSize([800], max_size=1333), v2.RandomHorizontalFlip(0.5)],
    ),
    "lsj": (
        "_base_/datasets/coco_instance_lsj.py",
        True,
        [
            v2.RandomHorizontalFlip(0.5),
            v2.ScaleJitter((1024, 1024), (0.1, 2.0)),
            v2.RandomCrop(1024, pad_if_needed=True, fill={torchvision.tv_tensors.Image: GRAY, "others": 0}),
            v2.SanitizeBoundingBoxes(),
        ],
    ),
    "ssd": (
        "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
        False,
        [
            v2.RandomZoomOut(fill={torchvision.tv_tensors.Image: GRAY, "others": 0}, side_range=(1.0, 4.0)),
            v2.RandomIoUCrop(),
            v2.Resize((320, 320)),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomPhotometricDistort(),
            v2.SanitizeBoundingBoxes(),
        ],
    ),
}


def ours(config: str) -> Any:
    """Return the config's training set on the photographs."""
    data = load_config(ROOT / "configs" / config).train_dataloader.dataset
    data = data.get("dataset", data)  # of a RepeatDataset
    data.update(data_root=str(ROOT / "demo"), ann_file=TRUTH, data_prefix={"img": "images/"})
    data.update(filter_cfg={"filter_empty_gt": True})
    return DATASETS.build(data)


def theirs(transforms: list[Callable[..., Any]], with_mask: bool) -> Any:
    """Return torchvision's data set with the same recipe."""
    every = v2.Compose([v2.ToImage(), *transforms, v2.ToPureTensor()])
    keys = ["image_id", "boxes", "labels", *(["masks"] if with_mask else [])]
    data = CocoDetection(str(IMAGES), str(ROOT / "demo" / TRUTH), transforms=every)
    data.ids = [number for number in data.ids if data.coco.getAnnIds(number, iscrowd=False)]
    return wrap_dataset_for_transforms_v2(data, target_keys=keys)


def seconds(data: Any, count: int) -> float:
    """Return the seconds of one pass."""
    start = time.perf_counter()
    for index in range(count):
        data[index]
    return time.perf_counter() - start


def shares(data: Any, count: int) -> dict[str, float]:
    """Return each transform's share of the time."""
    spent: dict[str, float] = defaultdict(float)
    for index in range(count):
        sample = data.get_data_info(index)
        for transform in data.pipeline.transforms:
            start = time.perf_counter()
            sample = transform(sample)
            spent[type(transform).__name__] += time.perf_counter() - start
            if sample is None:
                break
    return {name: round(value / sum(spent.values()), 3) for name, value in spent.items()}


def compare(name: str, repeats: int) -> dict[str, Any]:
    """Return the figures of one recipe."""
    config, with_mask, transforms = RECIPES[name]
    mine, other = ours(config), theirs(transforms, with_mask)
    count = len(other)
    assert len(mine) == count
    for data in (mine, other):
        seconds(data, count)
    pairs = []
    for number in range(repeats):
        order = ("mine", "other") if number % 2 else ("other", "mine")
        spent = {side: seconds(mine if side == "mine" else other, count) for side in order}
        pairs.append((spent["mine"], spent["other"]))
    return {
        "recipe": name,
        "images": count,
        "ours_images_per_s": round(count / statistics.median(a for a, _ in pairs), 1),
        "torchvision_images_per_s": round(count / statistics.median(b for _, b in pairs), 1),
        "ratio": round(statistics.median(b / a for a, b in pairs), 2),
        "shares": shares(mine, count),
    }


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), help=", ".join(RECIPES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [compare(name, args.repeats) for name in args.recipes]
    table = Table(*rows[0], title="training pipelines, one process, one thread")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=160).print(table)
    if args.out is not None:
        setting = {"torch": torch.__version__, "torchvision": torchvision.__version__, "repeats": args.repeats}
        args.out.write_text(json.dumps({"setting": setting, "recipes": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
