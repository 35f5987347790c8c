"""Time of scoring predictions, as the ratio to the tools that the field uses.

    python benchmarks/eval.py iou  [--images 200] [--size 512] [--classes 150] [--threads 2]
    python benchmarks/eval.py coco [--images 5000] [--detections 100] [--repeats 3] [--out benchmarks/results/x.json]

``iou``: ours and torchmetrics' ``MulticlassJaccardIndex`` alternate image by image on the same label maps. ``coco``:
ours and pycocotools alternate on the same 80-class annotations and detections, boxes and masks; both start from the
content of the two JSON files, and their twelve numbers must be equal. Figures are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.classification import MulticlassJaccardIndex

from foveal.evaluation.coco_eval import evaluate_coco
from foveal.evaluation.iou_metric import IoUMetric

SIDE = 320
CLASSES = 80


def label_maps(size: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a prediction and a truth [size, size], 70 % equal, 5 % ignored."""
    truth = torch.randint(classes, (size, size))
    pred = truth.where(torch.rand(size, size) < 0.7, torch.randint(classes, (size, size)))
    return pred, truth.where(torch.rand(size, size) >= 0.05, 255)


def compare_iou(images: int, size: int, classes: int) -> None:
    """Print the medians and their ratio."""
    ours = IoUMetric()
    ours.dataset_meta = {"classes": [str(i) for i in range(classes)]}
    theirs = MulticlassJaccardIndex(classes, ignore_index=255)
    times: dict[str, list[float]] = {"foveal": [], "torchmetrics": []}
    for _ in range(images):
        pred, truth = label_maps(size, classes)
        start = time.perf_counter()
        ours.process(None, [{"pred_sem_seg": {"data": pred[None]}, "gt_sem_seg": {"data": truth[None]}}])
        middle = time.perf_counter()
        theirs.update(pred, truth)
        times["foveal"].append(middle - start)
        times["torchmetrics"].append(time.perf_counter() - middle)
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ratio = medians["foveal"] / medians["torchmetrics"]
    print(f"{images} images {size} x {size}, {classes} classes, ms an image: {medians}; ratio {ratio:.2f}")


def ellipse(box: np.ndarray) -> dict[str, Any]:
    """Return the RLE of the ellipse inscribed in a box (x, y, w, h), with its counts as text."""
    x, y, w, h = box
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    inside = ((columns - x - w / 2) / (w / 2)) ** 2 + ((rows - y - h / 2) / (h / 2)) ** 2 <= 1
    rle = mask_utils.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def coco_case(images: int, detections: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return annotations as dense as COCO's (7 objects an image, 2 % crowds, 5 % of images empty) and detections.

    A third of the detections are shaken objects, the rest anywhere; shapes come from a pool, since what is in a mask
    does not change how long its matching takes.
    """
    generator = np.random.default_rng(seed)
    sizes = generator.uniform(6, 150, (500, 2))
    pool = np.concatenate([generator.uniform(0, SIDE - sizes), sizes], axis=1)
    shapes = [ellipse(box) for box in pool]
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        count = 0 if generator.random() < 0.05 else int(generator.poisson(7))
        objects = list(
            zip(generator.integers(len(pool), size=count), generator.integers(CLASSES, size=count), strict=True)
        )
        for shape, label in objects:
            rle = shapes[shape]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "bbox": pool[shape].tolist(),
                    "area": float(mask_utils.area(rle)),
                    "segmentation": rle,
                    "iscrowd": int(generator.random() < 0.02),
                }
            )
        for _ in range(detections):
            if objects and generator.random() < 1 / 3:
                shape, label = objects[generator.integers(len(objects))]
            else:
                shape, label = generator.integers(len(pool)), generator.integers(CLASSES)
            found.append(
                {
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "score": float(generator.random()),
                    "bbox": (pool[shape] + generator.normal(0, 2, 4).clip(-5, 5)).tolist(),
                    "segmentation": shapes[shape],
                }
            )
    truth = {
        "images": [{"id": i, "height": SIDE, "width": SIDE} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": str(i)} for i in range(1, CLASSES + 1)],
        "annotations": annotations,
    }
    return truth, found


def pycocotools_numbers(truth: dict[str, Any], found: list[dict[str, Any]], iou_type: str) -> list[float]:
    """Return the twelve numbers as a script over pycocotools gets them."""
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = truth
        index.createIndex()
        # loadRes takes boxes where both are given
        dropped = "bbox" if iou_type == "segm" else "segmentation"
        results = index.loadRes([{k: v for k, v in d.items() if k != dropped} for d in found])
        run = COCOeval(index, results, iou_type)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


def compare_coco(images: int, detections: int, repeats: int, out: Path | None) -> None:
    """Print and write the medians and their ratio; fail if one of the numbers differs."""
    truth, found = coco_case(images, detections)
    rows = []
    for iou_type in ("bbox", "segm"):
        times: dict[str, list[float]] = {"foveal": [], "pycocotools": []}
        for _ in range(repeats):
            start = time.perf_counter()
            ours = list(evaluate_coco(truth, found, iou_type).values())
            middle = time.perf_counter()
            theirs = pycocotools_numbers(truth, found, iou_type)
            times["foveal"].append(middle - start)
            times["pycocotools"].append(time.perf_counter() - middle)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
        ratio = statistics.median(b / a for a, b in zip(times["foveal"], times["pycocotools"], strict=True))
        rows.append(
            {
                "case": f"{iou_type}, {images} images, {detections} detections each, {CLASSES} classes",
                "foveal_s": round(statistics.median(times["foveal"]), 2),
                "pycocotools_s": round(statistics.median(times["pycocotools"]), 2),
                "speedup": round(ratio, 2),
                "repeats": repeats,
                "mAP": ours[0],
            }
        )
        print(rows[-1])
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metric", choices=("iou", "coco"))
    parser.add_argument("--images", type=int, help="200 for iou, 5000 for coco")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.metric == "iou":
        compare_iou(args.images or 200, args.size, args.classes)
    else:
        compare_coco(args.images or 5000, args.detections, args.repeats, args.out)


if __name__ == "__main__":
    main()
