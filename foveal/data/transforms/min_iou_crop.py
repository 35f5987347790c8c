"""SSD's crop: a window that overlaps the objects well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import crop_sample, select_instances
from foveal.registry import TRANSFORMS

ATTEMPTS = 50
MAX_ASPECT = 2


@TRANSFORMS.register_module()
class MinIoURandomCrop(BaseTransform):
    """Crop a random window whose IoU with every box is at least a drawn number (arXiv:1512.02325).

    Instances whose centre lies outside are removed. What is drawn may also be to leave the sample.

    Args:
        min_ious: The least IoUs, one of which is drawn; 0 and "leave it" are drawn as often.
        min_crop_size: Least side of the window, as a share of the image's.
        bbox_clip_border: Clip boxes to the crop.
    """

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        bbox_clip_border: bool = True,
    ) -> None:
        self.modes = (1.0, *min_ious, 0.0)
        self.min_crop_size = min_crop_size
        self.bbox_clip_border = bbox_clip_border

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop a sample or leave it; sets ``img_shape``."""
        boxes = results.get("gt_bboxes")
        boxes = np.zeros((0, 4), np.float32) if boxes is None else boxes
        while True:
            least = np.random.choice(self.modes)
            if least == 1:
                return results
            for _ in range(ATTEMPTS):
                window = self._draw(results["img"].shape[:2])
                if window is None or not len(boxes):
                    if window is not None:
                        crop_sample(results, window, self.bbox_clip_border)
                        return results
                    continue
                centers = (boxes[:, :2] + boxes[:, 2:]) / 2
                keep = ((centers > window[:2]) & (centers < window[2:])).all(1)
                if _overlaps(boxes, window).min() >= least and keep.any():
                    select_instances(results, keep)
                    crop_sample(results, window, self.bbox_clip_border)
                    return results

    def _draw(self, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """A window (x1, y1, x2, y2), None where it is too narrow."""
        width, height = (np.random.uniform(self.min_crop_size * edge, edge) for edge in shape[::-1])
        if not 1 / MAX_ASPECT <= height / width <= MAX_ASPECT:
            return None
        left, top = np.random.uniform(0, shape[1] - width), np.random.uniform(0, shape[0] - height)
        window = int(left), int(top), int(left + width), int(top + height)
        return None if window[2] == window[0] or window[3] == window[1] else window


def _overlaps(boxes: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """IoU [N] of boxes [N, 4] with the window."""
    inner = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    inner = inner.clip(min=0).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return inner / (area + (window[2] - window[0]) * (window[3] - window[1]) - inner)
