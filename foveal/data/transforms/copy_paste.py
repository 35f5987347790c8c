"""Objects of one image pasted into another (Simple Copy-Paste, Ghiasi et al., CVPR 2021, arXiv:2012.07177)."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import INSTANCE_KEYS, boxes_of_masks, copy_sample, file_of, select_instances
from foveal.errors import DataError
from foveal.registry import TRANSFORMS

Sample = dict[str, Any]


@TRANSFORMS.register_module()
class CopyPaste(BaseTransform):
    """Paste objects of another image of the same size; mmdet's arguments.

    Needs `MultiImageMixDataset`, which lays the other into ``mix_results``. Objects nearly covered are removed.

    Args:
        max_num_pasted: At most so many.
        bbox_occluded_thr: An object whose box changes by at most so many pixels stays.
        mask_occluded_thr: So does one with more pixels than this left.
        selected: Paste a random choice of the objects; else all.
        paste_by_box: Without masks, paste whole boxes.
    """

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: int = 10,
        mask_occluded_thr: int = 300,
        selected: bool = True,
        paste_by_box: bool = False,
    ) -> None:
        self.max_num_pasted = max_num_pasted
        self.bbox_occluded_thr = bbox_occluded_thr
        self.mask_occluded_thr = mask_occluded_thr
        self.selected = selected
        self.paste_by_box = paste_by_box

    def get_indexes(self, dataset: Sized) -> list[int]:
        """Return which sample of the dataset is the other."""
        return [int(np.random.randint(0, len(dataset)))]

    def transform(self, results: Sample) -> Sample:
        """Paste into a sample from the one of its ``mix_results``.

        Raises:
            DataError: If there are no masks without ``paste_by_box``, or the images differ in size.
        """
        other = copy_sample(results["mix_results"][0])
        if results["img"].shape[:2] != other["img"].shape[:2]:
            raise DataError(
                f"CopyPaste: {file_of(results)} and {file_of(other)} differ in size, "
                f"{results['img'].shape[:2]} and {other['img'].shape[:2]}: resize and pad them first"
            )
        with_masks = results.get("gt_masks") is not None
        results["gt_masks"], other["gt_masks"] = self._masks(results), self._masks(other)
        if self.selected:
            count = len(other["gt_bboxes"])
            pasted = np.random.randint(0, min(count + 1, self.max_num_pasted))
            select_instances(other, np.random.choice(count, size=pasted, replace=False))
        if len(other["gt_bboxes"]):
            self._paste(results, other)
        if not with_masks:
            del results["gt_masks"]
        return results

    def _masks(self, sample: Sample) -> np.ndarray:
        """Masks uint8 [N, H, W], whole boxes where there are none."""
        if sample.get("gt_masks") is not None:
            return sample["gt_masks"]
        if not self.paste_by_box:
            raise DataError(f"CopyPaste: {file_of(sample)} has no masks: load them, or set paste_by_box=True")
        masks = np.zeros((len(sample["gt_bboxes"]), *sample["img"].shape[:2]), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, sample["gt_bboxes"].round().astype(int), strict=True):
            mask[y1:y2, x1:x2] = 1
        return masks

    def _paste(self, results: Sample, other: Sample) -> None:
        covered = other["gt_masks"].any(axis=0)
        masks = np.where(covered, 0, results["gt_masks"]).astype(np.uint8)
        boxes = boxes_of_masks(masks)
        same = (np.abs(boxes - results["gt_bboxes"]) <= self.bbox_occluded_thr).all(1)
        results["gt_masks"], results["gt_bboxes"] = masks, boxes
        select_instances(results, same | (masks.sum((1, 2)) > self.mask_occluded_thr))
        for key in ("img", "gt_seg_map"):
            if results.get(key) is not None:
                results[key] = results[key].copy()
                results[key][covered] = other[key][covered]
        for key in INSTANCE_KEYS:
            if results.get(key) is not None:
                results[key] = np.concatenate((results[key], other[key]))
