"""YOLOX's random affine map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import boxes_inside, clip_boxes, select_instances
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomAffine(BaseTransform):
    """Scale, rotate, shear and shift the image, with boxes, masks and label map; mmdet's arguments.

    A box becomes the smallest around its four corners.

    Args:
        max_rotate_degree: Largest rotation, either way.
        max_translate_ratio: Largest shift, as a share of the output's sides.
        scaling_ratio_range: Smallest and largest scale.
        max_shear_degree: Largest shear, either way, along each axis.
        border: (w, h) that the output is larger by on each side; negative: smaller, as after `Mosaic`.
        border_val: Fill of the image.
        bbox_clip_border: Clip boxes to the output.

    Raises:
        ConfigError: If ``max_translate_ratio`` is not in [0, 1] or ``scaling_ratio_range`` not positive and rising.
    """

    def __init__(
        self,
        max_rotate_degree: float = 10.0,
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: Sequence[float] = (0.5, 1.5),
        max_shear_degree: float = 2.0,
        border: Sequence[int] = (0, 0),
        border_val: Sequence[float] = (114, 114, 114),
        bbox_clip_border: bool = True,
    ) -> None:
        low, high = scaling_ratio_range
        if not 0 <= max_translate_ratio <= 1 or not 0 < low <= high:
            raise ConfigError(
                "RandomAffine: max_translate_ratio must be in [0, 1] and scaling_ratio_range positive and rising, got "
                f"{max_translate_ratio!r} and {scaling_ratio_range!r}"
            )
        self.max_rotate_degree = max_rotate_degree
        self.max_translate_ratio = max_translate_ratio
        self.scaling_ratio_range = (low, high)
        self.max_shear_degree = max_shear_degree
        self.border = border
        self.border_val = tuple(border_val)
        self.bbox_clip_border = bbox_clip_border

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Map a sample; sets ``img_shape``. Instances with no part in the output are removed."""
        img = results["img"]
        shape = (img.shape[0] + self.border[1] * 2, img.shape[1] + self.border[0] * 2)
        matrix = self._draw(shape)
        warped = self._warp(img, matrix, shape, self.border_val, cv2.INTER_LINEAR)
        results["img"] = warped if warped.ndim == img.ndim else warped[..., None]
        results["img_shape"] = shape
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = self._warp(results["gt_seg_map"], matrix, shape, (255,), cv2.INTER_NEAREST)
        if results.get("gt_depth_map") is not None:
            results["gt_depth_map"] = self._warp(results["gt_depth_map"], matrix, shape, (0,), cv2.INTER_NEAREST)
        if results.get("gt_bboxes") is None:
            return results
        boxes = project_boxes(results["gt_bboxes"], matrix)
        inside = boxes_inside(boxes, shape)
        if self.bbox_clip_border:
            clip_boxes(boxes, shape)
        results["gt_bboxes"] = boxes
        select_instances(results, inside)
        if results.get("gt_masks") is not None:
            masks = [self._warp(mask, matrix, shape, (0,), cv2.INTER_NEAREST) for mask in results["gt_masks"]]
            results["gt_masks"] = np.stack(masks) if masks else np.zeros((0, *shape), np.uint8)
        return results

    def _draw(self, shape: tuple[int, int]) -> np.ndarray:
        """The map, float64 [3, 3], for an output of ``shape``."""
        turn = math.radians(np.random.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scale = np.random.uniform(*self.scaling_ratio_range)
        shear_x, shear_y = (
            math.tan(math.radians(np.random.uniform(-self.max_shear_degree, self.max_shear_degree))) for _ in range(2)
        )
        move_x, move_y = (
            np.random.uniform(-self.max_translate_ratio, self.max_translate_ratio) * edge for edge in shape[::-1]
        )
        rotation = [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
        moved_shear = [[1, shear_x, move_x], [shear_y, 1, move_y], [0, 0, 1]]
        return np.array(moved_shear) @ np.array(rotation) @ np.diag([scale, scale, 1.0])

    @staticmethod
    def _warp(
        image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], fill: tuple[float, ...], flags: int
    ) -> np.ndarray:
        return cv2.warpAffine(image, matrix[:2], shape[::-1], flags=flags, borderValue=fill)


def project_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the smallest boxes, float32 [N, 4], around the mapped corners of boxes [N, 4].

    Args:
        boxes: x1, y1, x2, y2.
        matrix: The map, [3, 3].
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    corners = corners @ matrix[:2, :2].T + matrix[:2, 2]
    return np.concatenate((corners.min(1), corners.max(1)), axis=1).astype(np.float32)
