"""Time of scoring label maps, as the ratio to torchmetrics.

    python benchmarks/eval.py [--images 200] [--size 512] [--classes 150] [--threads 2]

Ours and torchmetrics' ``MulticlassJaccardIndex`` alternate in one process, image by image, on the same label maps;
figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torchmetrics.classification import MulticlassJaccardIndex

from foveal.evaluation.iou_metric import IoUMetric


def label_maps(size: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a prediction and a truth [size, size], 70 % equal, 5 % ignored."""
    truth = torch.randint(classes, (size, size))
    pred = truth.where(torch.rand(size, size) < 0.7, torch.randint(classes, (size, size)))
    return pred, truth.where(torch.rand(size, size) >= 0.05, 255)


def compare(images: int, size: int, classes: int) -> None:
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


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    compare(args.images, args.size, args.classes)


if __name__ == "__main__":
    main()
