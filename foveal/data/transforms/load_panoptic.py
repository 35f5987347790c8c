"""Reading COCO panoptic annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.loading import load_instances, read_image
from foveal.errors import DataError
from foveal.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(BaseTransform):
    """Make boxes, masks and label map of a panoptic record: the PNG of segment ids and what each segment is.

    Things that are no crowds become instances, in the order of ``segments_info``. In the label map each segment has its
    label, things first, then stuff; 255 where there is no segment.

    Args:
        with_bbox: Make ``gt_bboxes`` float32 [N, 4] and ``gt_ignore_flags`` bool [N].
        with_label: Make ``gt_bboxes_labels`` int64 [N].
        with_mask: Make ``gt_masks`` uint8 [N, H, W].
        with_seg: Make ``gt_seg_map`` uint8 [H, W].
        backend_args: Arguments of mmengine's file backend.

    Raises:
        DataError: From ``transform``, if the PNG does not decode, has another size than the image or lacks a segment.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        backend_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the arrays; a record without ``pan_seg_map_path`` (a test set) gets boxes and labels alone."""
        load_instances(results, results["instances"], self.with_bbox, self.with_label)
        if results.get("pan_seg_map_path") is not None and (self.with_mask or self.with_seg):
            self._load_segments(results)
        return results

    def _load_segments(self, results: dict[str, Any]) -> None:
        path = results["pan_seg_map_path"]
        blue, green, red = np.moveaxis(read_image(path, "color", backend_args=self.backend_args).astype(np.int32), 2, 0)
        ids = red + 256 * green + 65536 * blue
        if "ori_shape" in results and ids.shape != tuple(results["ori_shape"]):
            raise DataError(f"{path} is {ids.shape[::-1]} (w, h), its image {results['ori_shape'][::-1]}")
        seg = np.full(ids.shape, 255, np.uint8)
        masks = []
        for segment in results["segments_info"]:
            mask = ids == segment["id"]
            if not mask.any():
                raise DataError(f"{path} has no pixel of the segment {segment['id']} that its JSON names")
            seg[mask] = segment["category"]
            if segment["is_thing"]:
                masks.append(mask.view(np.uint8))
        if self.with_mask:
            results["gt_masks"] = np.stack(masks) if masks else np.zeros((0, *ids.shape), np.uint8)
        if self.with_seg:
            results["gt_seg_map"] = seg
