"""A sample whose every part can be checked against every other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """The boxes of masks, written the slow way."""
    boxes = []
    for mask in masks:
        y, x = np.nonzero(mask)
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0])
    return np.array(boxes, np.float32).reshape(-1, 4)


def build_sample(
    shape: tuple[int, int] = (61, 83), count: int = 4, channels: int | None = 3, pair: bool = False
) -> dict:
    """``count`` ellipses that do not overlap; label i + 1 is ellipse i in the label map, 40 times that in the image."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    seg = np.zeros(shape, np.uint8)
    masks = np.zeros((count, *shape), np.uint8)
    for i in range(count):
        centre_x = width * (i + 0.5) / count
        radius_x, radius_y = width / count * 0.4, height * (0.2 + 0.05 * i)
        masks[i] = ((x - centre_x) / radius_x) ** 2 + ((y - height * 0.5) / radius_y) ** 2 <= 1
        seg[masks[i] > 0] = i + 1
    img = seg * np.uint8(40)
    if channels is not None:
        img = np.repeat(img[..., None], channels, axis=2)
    sample = {
        "img_path": "somewhere/picture.png",
        "img": img,
        "img_shape": shape,
        "ori_shape": shape,
        "gt_bboxes": tight_boxes(masks),
        "gt_bboxes_labels": np.arange(count, dtype=np.int64),
        "gt_ignore_flags": np.arange(count) == 1,
        "gt_masks": masks,
        "gt_seg_map": seg,
    }
    return sample | {"gt_img": img.copy()} if pair else sample


@pytest.fixture
def make_sample() -> Callable[..., dict]:
    return build_sample


@pytest.fixture
def boxes_of() -> Callable[[np.ndarray], np.ndarray]:
    return tight_boxes
