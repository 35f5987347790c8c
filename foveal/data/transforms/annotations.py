"""Filtering of annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import select_instances
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FilterAnnotations(BaseTransform):
    """Remove instances that are too small.

    Args:
        min_gt_bbox_wh: A box stays where its width and height exceed these, in pixels.
        min_gt_mask_area: A mask stays with at least this many pixels.
        by_box: Judge boxes.
        by_mask: Judge masks.
        keep_empty: Give up the sample (None; the dataset takes another one) where nothing is left. The name is mmdet's
            and says the opposite; its meaning is kept so that configs do the same here.

    Raises:
        ConfigError: If neither boxes nor masks are judged.
    """

    def __init__(
        self,
        min_gt_bbox_wh: Sequence[float] = (1, 1),
        min_gt_mask_area: int = 1,
        by_box: bool = True,
        by_mask: bool = False,
        keep_empty: bool = True,
    ) -> None:
        if not (by_box or by_mask):
            raise ConfigError("FilterAnnotations: set by_box or by_mask")
        self.min_gt_bbox_wh = min_gt_bbox_wh
        self.min_gt_mask_area = min_gt_mask_area
        self.by_box = by_box
        self.by_mask = by_mask
        self.keep_empty = keep_empty

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Filter a sample; an image without annotations passes unchanged."""
        boxes = results["gt_bboxes"]
        if len(boxes) == 0:
            return results
        keep = np.ones(len(boxes), dtype=bool)
        if self.by_box:
            keep &= (boxes[:, 2:] - boxes[:, :2] > np.array(self.min_gt_bbox_wh)).all(axis=1)
        if self.by_mask:
            if results.get("gt_masks") is None:
                raise ConfigError("FilterAnnotations: by_mask needs masks; set with_mask=True in LoadAnnotations")
            keep &= results["gt_masks"].sum(axis=(1, 2)) >= self.min_gt_mask_area
        if self.keep_empty and not keep.any():
            return None
        select_instances(results, keep)
        return results
