"""Depth maps: reading them, and the crops of NYU and KITTI."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import check_choice, crop_sample
from foveal.errors import DataError
from foveal.registry import TRANSFORMS


def read_depth(path: str) -> np.ndarray:
    """Read a PNG of depth as it is, uint16 [H, W].

    Raises:
        DataError: If it is missing, does not decode, or is no gray image of 16 bits.
    """
    depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if depth is None:
        raise DataError(f"the depth map {path} is missing or does not decode")
    if depth.ndim != 2 or depth.dtype != np.uint16:
        raise DataError(f"the depth map {path} must be gray with 16 bits, got {depth.dtype} {list(depth.shape)}")
    return depth


@TRANSFORMS.register_module()
class LoadDepthAnnotation(BaseTransform):
    """Read ``results['depth_map_path']`` into ``gt_depth_map``, float32 [H, W] in metres, 0 where unknown.

    Args:
        depth_rescale_factor: Metres to one step of the file: 1e-3 for NYU, 1 / 256 for KITTI.

    Raises:
        DataError: From ``transform``, if the file is missing, is not of 16 bits, or of another size than the image.
    """

    def __init__(self, depth_rescale_factor: float = 1e-3) -> None:
        self.depth_rescale_factor = depth_rescale_factor

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the depth map; its size is that of the image as it is now, or was when it was loaded."""
        path = results["depth_map_path"]
        depth = read_depth(path)
        if depth.shape not in (results["img_shape"], results["ori_shape"]):
            raise DataError(
                f"{results['img_path']} has {list(results['ori_shape'])} pixels (h, w), "
                f"its depth map {path} {list(depth.shape)}"
            )
        results["gt_depth_map"] = depth.astype(np.float32) * np.float32(self.depth_rescale_factor)
        return results


@TRANSFORMS.register_module()
class DepthCrop(BaseTransform):
    """Cut an image and its depth map as BTS does.

    ``ori_shape`` becomes that of the crop, which is scored; ``crop_offset`` (top, left) and ``full_shape`` (h, w) tell
    `DepthMetric` where it was.

    Args:
        kind: ``nyu``: columns 43 to 608 and rows 45 to 472, without the white border; ``kb``: the lowest 352 rows and
            the middle 1216 columns, which KITTI's benchmark has.

    Raises:
        DataError: From ``transform``, if the image is smaller than that.
    """

    def __init__(self, kind: str) -> None:
        check_choice("DepthCrop", "kind", kind, ("nyu", "kb"))
        self.kind = kind

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Cut a sample."""
        height, width = results["img"].shape[:2]
        left, top, right, bottom = 43, 45, 608, 472
        if self.kind == "kb":
            left, top = (width - 1216) // 2, height - 352
            right, bottom = left + 1216, top + 352
        if min(left, top) < 0 or right > width or bottom > height:
            raise DataError(
                f"{results.get('img_path', 'an image')} has {height} x {width} pixels, too few for DepthCrop "
                f"{self.kind!r}, which wants {bottom - top} x {right - left}"
            )
        results["full_shape"], results["crop_offset"] = (height, width), (top, left)
        crop_sample(results, (left, top, right, bottom))
        results["ori_shape"] = results["img_shape"]
        return results
