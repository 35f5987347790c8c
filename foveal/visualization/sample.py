"""The picture of a data sample, whatever its task: what it holds is what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from foveal.evaluation.psnr_ssim import to_uint8
from foveal.structures import DataSample
from foveal.visualization.draw import classes_present, draw_detections, draw_legend, draw_segmentation
from foveal.visualization.sheet import restoration_panel, side_by_side
from foveal.visualization.text import font_size

_KINDS = ("instances", "sem_seg", "label", "img")


def draw_sample(
    image: np.ndarray,
    sample: DataSample,
    dataset_meta: Mapping[str, Any] | None = None,
    which: str = "pred",
    score_thr: float = 0.3,
) -> np.ndarray:
    """Draw what a sample holds.

    Boxes and masks are drawn as they are, so ``image`` is the one that they belong to: the original image for
    predictions and for annotations that a test pipeline loads after its resize (as mmdet's and mmseg's do), the
    transformed one for a training sample.

    Args:
        image: RGB uint8 [H, W, 3].
        sample: With ``<which>_instances``, ``<which>_sem_seg``, ``<which>_label`` or ``<which>_img``.
        dataset_meta: ``classes`` and ``palette`` of the data set.
        which: ``gt`` or ``pred``.
        score_thr: Instances with a lower score are left out.

    Returns:
        RGB uint8. The same size, but higher by a legend under a label map or a line under a classified image; the
        restored or sharp image itself for restoration; ``image`` where the sample holds nothing.
    """
    restored = sample.get(f"{which}_img")
    if restored is not None:
        return rgb_image(restored)
    picture = draw_on_image(image, sample, dataset_meta, which, score_thr)
    if f"{which}_sem_seg" in sample:
        picture = np.concatenate([picture, _legend([sample.get(f"{which}_sem_seg").data], picture, dataset_meta)])
    if f"{which}_label" in sample:
        picture = side_by_side([picture], [_class_of(sample, dataset_meta, which)])
    return picture


def compare_sample(
    image: np.ndarray, sample: DataSample, dataset_meta: Mapping[str, Any] | None = None, score_thr: float = 0.3
) -> np.ndarray:
    """Show ground truth beside prediction.

    Args:
        image: RGB uint8 [H, W, 3]: the original image; for restoration the low-quality one.
        sample: With predictions and, where known, ground truth.
        dataset_meta: ``classes`` and ``palette`` of the data set.
        score_thr: Predicted instances with a lower score are left out.

    Returns:
        RGB uint8: two captioned pictures, with one legend for label maps; one picture with both class names for
        classification; for restoration see `restoration_panel`.
    """
    if "pred_img" in sample:
        gt = rgb_image(sample.gt_img) if "gt_img" in sample else None
        return restoration_panel(image, rgb_image(sample.pred_img), gt)
    names = {"gt": "ground truth", "pred": "prediction"}
    sides = [which for which in ("gt", "pred") if any(f"{which}_{kind}" in sample for kind in _KINDS)]
    if "pred_label" in sample:
        return side_by_side([image], [", ".join(f"{names[w]}: {_class_of(sample, dataset_meta, w)}" for w in sides)])
    pictures = [draw_on_image(image, sample, dataset_meta, which, score_thr) for which in sides]
    picture = side_by_side(pictures, [names[which] for which in sides])
    maps = [sample.get(f"{which}_sem_seg").data for which in sides if f"{which}_sem_seg" in sample]
    return np.concatenate([picture, _legend(maps, picture, dataset_meta)]) if maps else picture


def draw_on_image(
    image: np.ndarray, sample: DataSample, dataset_meta: Mapping[str, Any] | None, which: str, score_thr: float
) -> np.ndarray:
    """Draw the label map and the instances, without legend or caption; the size stays.

    Args:
        image: RGB uint8 [H, W, 3].
        sample: As in `draw_sample`.
        dataset_meta: As in `draw_sample`.
        which: ``gt`` or ``pred``.
        score_thr: As in `draw_sample`.
    """
    classes, palette = _names_and_colours(dataset_meta)
    if f"{which}_sem_seg" in sample:
        image = draw_segmentation(image, sample.get(f"{which}_sem_seg").data, palette)
    if f"{which}_instances" in sample:
        instances = sample.get(f"{which}_instances")
        names = _enough(classes, instances.labels)
        image = draw_detections(image, instances, names, score_thr, palette)
    return image.copy()


def rgb_image(image: torch.Tensor) -> np.ndarray:
    """Return an image of a sample ([C, H, W], uint8 or float in [0, 1]) as RGB uint8 [H, W, 3]."""
    pixels = to_uint8(image)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _legend(maps: Sequence[torch.Tensor], picture: np.ndarray, dataset_meta: Mapping[str, Any] | None) -> np.ndarray:
    classes, palette = _names_and_colours(dataset_meta)
    labels = classes_present(maps)
    size = font_size(picture.shape) if picture.shape[1] < 1.5 * picture.shape[0] else font_size((picture.shape[0],))
    return draw_legend(labels, _enough(classes, np.array(labels)), picture.shape[1], size, palette)


def _names_and_colours(dataset_meta: Mapping[str, Any] | None) -> tuple[Sequence[str], Sequence[Sequence[int]] | None]:
    meta = dataset_meta or {}
    return meta.get("classes") or (), meta.get("palette")


def _enough(classes: Sequence[str], labels: Any) -> list[str]:
    """Return the class names, continued by numbers where a label has no name."""
    count = int(max(labels)) + 1 if len(labels) else 0
    return list(classes) + [str(number) for number in range(len(classes), count)]


def _class_of(sample: DataSample, dataset_meta: Mapping[str, Any] | None, which: str) -> str:
    label = int(sample.get(f"{which}_label").reshape(-1)[0])
    name = _enough(_names_and_colours(dataset_meta)[0], [label])[label]
    return f"{name} {float(sample.pred_score[label]):.2f}" if which == "pred" and "pred_score" in sample else name
