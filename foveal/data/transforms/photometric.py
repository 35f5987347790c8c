"""Changes of colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from foveal.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """SSD's colour distortion (https://arxiv.org/abs/1512.02325), with mmdet's and mmseg's order and ranges.

    Each step happens with probability 1/2: brightness, contrast (before or after the colours), saturation, hue. A grey
    image has brightness and contrast changed only.

    mmdet and mmseg give this name to two distortions, so the sample decides. With a label map and no boxes it is
    mmseg's: the hue turns by up to twice ``hue_delta``, every step is clipped to [0, 255], the result is uint8. Else it
    is mmdet's: the channels also get a random order with probability 1/2, the result is float32 and not clipped.

    Args:
        brightness_delta: Largest addition to the pixels.
        contrast_range: Factor of the pixels.
        saturation_range: Factor of the saturation.
        hue_delta: Largest addition to the hue, in degrees (mmseg's distortion: in units of 2 degrees).
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the colours of ``img``, BGR on the scale 0 to 255."""
        contrast_last, brighten, contrast, saturate, turn, swap = np.random.randint(2, size=6)
        delta = np.random.uniform(-self.brightness_delta, self.brightness_delta)
        factor = np.random.uniform(self.contrast_range[0], self.contrast_range[1])
        saturation = np.random.uniform(self.saturation_range[0], self.saturation_range[1])
        hue = np.random.uniform(-self.hue_delta, self.hue_delta)
        order = np.random.permutation(3)

        as_mmseg = results.get("gt_seg_map") is not None and results.get("gt_bboxes") is None
        highest = 255 if as_mmseg else None

        img = results["img"].astype(np.float32)
        if brighten:
            img = _scale(img, 1.0, delta, highest)
        if contrast and not contrast_last:
            img = _scale(img, factor, 0.0, highest)
        if img.ndim == 3 and img.shape[2] == 3:
            if saturate or turn:
                hue *= 2 if as_mmseg else 1
                img = _shift_colours(img, saturation if saturate else 1.0, hue if turn else 0.0)
            if swap and not as_mmseg:
                img = np.ascontiguousarray(img[..., order])
        if contrast and contrast_last:
            img = _scale(img, factor, 0.0, highest)
        results["img"] = np.rint(img).astype(np.uint8) if as_mmseg else img
        return results


@TRANSFORMS.register_module()
class YOLOXHSVRandomAug(BaseTransform):
    """Add random numbers to hue, saturation and value, each with probability 1/2 (YOLOX, arXiv:2107.08430).

    A grey image stays as it is.

    Args:
        hue_delta: Largest addition to the hue, in units of 2 degrees.
        saturation_delta: Largest addition to the saturation, on the scale 0 to 255.
        value_delta: The same to the value.
    """

    def __init__(self, hue_delta: int = 5, saturation_delta: int = 30, value_delta: int = 30) -> None:
        self.deltas = np.array([hue_delta, saturation_delta, value_delta])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the colours of ``img``, uint8 BGR."""
        gains = np.random.uniform(-1, 1, 3) * self.deltas
        gains = (gains * np.random.randint(0, 2, 3)).astype(np.int16)
        img = results["img"]
        if img.ndim != 3 or img.shape[2] != 3:
            return results
        hsv = cv2.cvtColor(img.astype(np.uint8), cv2.COLOR_BGR2HSV).astype(np.int16) + gains
        hsv[..., 0] %= 180
        hsv[..., 1:] = hsv[..., 1:].clip(0, 255)
        results["img"] = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR).astype(img.dtype)
        return results


def _scale(img: np.ndarray, factor: float, delta: float, highest: float | None) -> np.ndarray:
    """Return ``img * factor + delta``, clipped to [0, highest] unless that is None."""
    img = img * np.float32(factor) + np.float32(delta)
    return img if highest is None else img.clip(0, highest)


def _shift_colours(img: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    """Scale the saturation, up to full, and turn the hue (degrees) of a float32 BGR image."""
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(hue), 360)
    hsv[..., 1] = hsv[..., 1] * np.float32(saturation)
    if saturation > 1:  # beyond full saturation pixels would be negative
        hsv[..., 1] = hsv[..., 1].clip(0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
