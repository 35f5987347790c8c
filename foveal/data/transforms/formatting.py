"""The last step of a pipeline: arrays become tensors in the form that models take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from foveal.data.transforms.restoration import check_pair
from foveal.registry import TRANSFORMS
from foveal.structures import DataSample

META_KEYS = (
    "img_id",
    "img_path",
    "ori_shape",
    "img_shape",
    "pad_shape",
    "scale_factor",
    "flip",
    "flip_direction",
    "seg_map_path",
    "reduce_zero_label",
    "gt_img_path",
    "sample_idx",
    "depth_map_path",
    "focal",
    "crop_offset",
    "full_shape",
)
_INSTANCE_FIELDS = {"gt_bboxes": "bboxes", "gt_bboxes_labels": "labels", "gt_masks": "masks"}


@TRANSFORMS.register_module(name=["PackInputs", "PackDetInputs", "PackSegInputs", "PackClsInputs"])
class PackInputs(BaseTransform):
    """Pack a sample of any task into ``inputs`` and a ``DataSample``; the other names are mmdet's, mmseg's and older.

    What the sample has is packed: ``gt_instances`` and ``ignored_instances`` (crowds) from boxes, labels and masks,
    ``gt_sem_seg`` from the label map, ``gt_depth_map`` from the depth map,
    ``gt_label`` from the class, ``gt_img`` (RGB) from the sharp image.

    Args:
        meta_keys: Keys of the sample to be kept as ``metainfo``; those it lacks are left out.

    Raises:
        DataError: From ``transform``, if the two images of a restoration pair do not fit.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack a sample.

        Args:
            results: The sample.

        Returns:
            ``inputs``: tensor [C, H, W] of the image's dtype, channels as loaded (BGR); ``data_samples``: DataSample.
        """
        sample = DataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if any(results.get(key) is not None for key in _INSTANCE_FIELDS):
            sample.gt_instances, sample.ignored_instances = _pack_instances(results)
        if results.get("gt_seg_map") is not None:
            seg = torch.from_numpy(results["gt_seg_map"].astype(np.int64))
            sample.gt_sem_seg = PixelData(data=seg[None])
        if results.get("gt_depth_map") is not None:
            depth = torch.from_numpy(np.ascontiguousarray(results["gt_depth_map"]))
            sample.gt_depth_map = PixelData(data=depth[None])
        if results.get("gt_label") is not None:
            sample.gt_label = torch.as_tensor(results["gt_label"], dtype=torch.int64).reshape(-1)
        if results.get("gt_img") is not None:
            if "upscale" in results:
                check_pair(results, results["upscale"])
            sample.gt_img = _image_to_tensor(results["gt_img"], to_rgb=True)
        return {"inputs": _image_to_tensor(results["img"]), "data_samples": sample}


def _image_to_tensor(image: np.ndarray, to_rgb: bool = False) -> Tensor:
    """Return a contiguous [C, H, W] tensor of an [H, W] or [H, W, C] image."""
    planes = cv2.split(image)  # several times as fast as transposing
    return torch.from_numpy(np.stack(planes[::-1] if to_rgb else planes))


def _pack_instances(results: dict[str, Any]) -> tuple[InstanceData, InstanceData]:
    """Return the instances to learn from and the ones to ignore."""
    flags = results.get("gt_ignore_flags")
    valid, ignored = InstanceData(), InstanceData()
    for key, field in _INSTANCE_FIELDS.items():
        if results.get(key) is None:
            continue
        values = torch.from_numpy(np.ascontiguousarray(results[key]))
        if field == "masks":
            values = values.bool()
        if flags is None or not flags.any():
            valid[field], ignored[field] = values, values[:0]
        else:
            valid[field], ignored[field] = values[torch.from_numpy(~flags)], values[torch.from_numpy(flags)]
    return valid, ignored
