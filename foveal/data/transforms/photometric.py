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
    """SSD's colour distortion (https://arxiv.org/abs/1512.02325), with mmdet's order and ranges.

    Each step happens with probability 1/2: brightness, contrast (before or after the colours), saturation, hue, and
    a random order of the channels. The result is float32 and is not clipped, as in mmdet. A grey image has brightness
    and contrast changed only.

    Args:
        brightness_delta: Largest addition to the pixels.
        contrast_range: Factor of the pixels.
        saturation_range: Factor of the saturation.
        hue_delta: Largest addition to the hue, in degrees.
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

        img = results["img"].astype(np.float32)
        if brighten:
            img += np.float32(delta)
        if contrast and not contrast_last:
            img *= np.float32(factor)
        if img.ndim == 3 and img.shape[2] == 3:
            if saturate or turn:
                img = _shift_colours(img, saturation if saturate else 1.0, hue if turn else 0.0)
            if swap:
                img = np.ascontiguousarray(img[..., order])
        if contrast and contrast_last:
            img *= np.float32(factor)
        results["img"] = img
        return results


def _shift_colours(img: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    """Scale the saturation and turn the hue (degrees) of a float32 BGR image."""
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(hue), 360)
    hsv[..., 1] = hsv[..., 1] * np.float32(saturation)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
