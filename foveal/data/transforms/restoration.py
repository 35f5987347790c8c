"""Pairs of a low-quality image ``img`` and a sharp image ``gt_img``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.imresize import imresize
from foveal.data.transforms.sample import check_choice, file_of
from foveal.errors import ConfigError, DataError
from foveal.registry import TRANSFORMS

PAIR = ("img", "gt_img")


def check_pair(results: dict[str, Any], scale: int) -> None:
    """Check that ``gt_img`` is ``scale`` times as large as ``img``.

    Raises:
        DataError: If it is not; the message has both files and both sizes.
    """
    low, high = results["img"].shape[:2], results["gt_img"].shape[:2]
    if (low[0] * scale, low[1] * scale) != high:
        raise DataError(
            f"scale {scale} does not fit: {results.get('img_path', 'img')} is {low[1]}x{low[0]}, "
            f"{results.get('gt_img_path', 'gt_img')} is {high[1]}x{high[0]}"
        )


def _update_shape(results: dict[str, Any]) -> None:
    if results.get("img") is not None:
        results["img_shape"] = results["img"].shape[:2]


@TRANSFORMS.register_module()
class ModCrop(BaseTransform):
    """Cut an image at the bottom and right to a multiple of the scale, so that it can be shrunk by it.

    Args:
        scale: The scale. None: that of the dataset, ``RestorationDataset(scale=…)``.
        key: Which image.
    """

    def __init__(self, scale: int | None = None, key: str = "gt_img") -> None:
        check_choice("ModCrop", "key", key, PAIR)
        self.scale = scale
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the image.

        Raises:
            ConfigError: If neither this transform nor the dataset has a scale.
            DataError: If the image is smaller than the scale.
        """
        scale = results.get("upscale") if self.scale is None else self.scale
        if scale is None:
            raise ConfigError("ModCrop needs a scale, its own or the dataset's")
        height, width = results[self.key].shape[:2]
        if min(height, width) < scale:
            raise DataError(f"{file_of(results)} is {width}x{height}, smaller than the scale {scale}")
        results[self.key] = results[self.key][: height - height % scale, : width - width % scale]
        _update_shape(results)
        return results


@TRANSFORMS.register_module()
class MATLABLikeResize(BaseTransform):
    """Resize images as MATLAB's ``imresize`` does; by default make the low-quality ``img`` of ``gt_img``.

    Args:
        keys: Images to be resized.
        scale: Output size divided by input size, such as 1 / 2.
        output_shape: (h, w) afterwards; give either this or ``scale``.
        output_keys: Where the results go.

    Raises:
        ConfigError: If the keys do not match or not exactly one size is given.
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "gt_img",
        scale: float | None = None,
        output_shape: Sequence[int] | None = None,
        output_keys: str | Sequence[str] = "img",
    ) -> None:
        self.keys = [keys] if isinstance(keys, str) else list(keys)
        self.output_keys = [output_keys] if isinstance(output_keys, str) else list(output_keys)
        for key in (*self.keys, *self.output_keys):
            check_choice("MATLABLikeResize", "each of keys and output_keys", key, PAIR)
        if len(self.keys) != len(self.output_keys):
            raise ConfigError(f"MATLABLikeResize: {len(self.keys)} keys, but {len(self.output_keys)} output_keys")
        if (scale is None) == (output_shape is None):
            raise ConfigError(f"MATLABLikeResize: give scale or output_shape, got {scale!r} and {output_shape!r}")
        self.scale = scale
        self.output_shape = output_shape

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize; an ``img`` made here sets ``img_shape`` and ``ori_shape`` (h, w)."""
        for key, output in zip(self.keys, self.output_keys, strict=True):
            results[output] = imresize(results[key], self.scale, self.output_shape)
        if "img" in self.output_keys:
            results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
            results.setdefault("img_path", results.get("gt_img_path"))
        return results


def _mirror_up_to(image: np.ndarray, size: int) -> np.ndarray:
    """Enlarge an image to at least ``size`` at the bottom and right."""
    missing = [(0, max(0, size - side)) for side in image.shape[:2]]
    return np.pad(image, missing + [(0, 0)] * (image.ndim - 2), "symmetric") if any(m for _, m in missing) else image


@TRANSFORMS.register_module()
class PairedRandomCrop(BaseTransform):
    """Crop the same random window out of both images; where there is no ``img`` yet, out of ``gt_img`` alone.

    Args:
        gt_patch_size: Height and width of the window in ``gt_img``, a multiple of the scale.
        scale: Size of ``gt_img`` divided by that of ``img``.
        pad: Mirror images that are smaller than the patch at the bottom and right. False: they are an error.

    Raises:
        ConfigError: If the patch is no multiple of the scale.
    """

    def __init__(self, gt_patch_size: int, scale: int, pad: bool = False) -> None:
        if gt_patch_size % scale:
            raise ConfigError(f"PairedRandomCrop: gt_patch_size {gt_patch_size} is no multiple of the scale {scale}")
        self.gt_patch_size = gt_patch_size
        self.scale = scale
        self.pad = pad

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the images.

        Raises:
            DataError: If the images do not fit each other, or are smaller than the patch.
        """
        paired = results.get("img") is not None
        if paired:
            check_pair(results, self.scale)
        size = self.gt_patch_size
        if self.pad:
            results["gt_img"] = _mirror_up_to(results["gt_img"], size)
            if paired:
                results["img"] = _mirror_up_to(results["img"], size // self.scale)
        height, width = results["gt_img"].shape[:2]
        if min(height, width) < size:
            raise DataError(f"{file_of(results)} is {width}x{height}, smaller than gt_patch_size {size}")
        patch = size // self.scale
        top = np.random.randint((height - size) // self.scale + 1)
        left = np.random.randint((width - size) // self.scale + 1)
        y, x = top * self.scale, left * self.scale
        results["gt_img"] = results["gt_img"][y : y + size, x : x + size]
        if paired:
            results["img"] = results["img"][top : top + patch, left : left + patch]
        _update_shape(results)
        return results


@TRANSFORMS.register_module()
class Flip(BaseTransform):
    """Flip all images named in ``keys`` or none (mmagic).

    Args:
        keys: The images.
        flip_ratio: Probability.
        direction: ``'horizontal'`` or ``'vertical'``.
    """

    def __init__(
        self, keys: str | Sequence[str] = PAIR, flip_ratio: float = 0.5, direction: str = "horizontal"
    ) -> None:
        check_choice("Flip", "direction", direction, ("horizontal", "vertical"))
        self.keys = [keys] if isinstance(keys, str) else list(keys)
        self.flip_ratio = flip_ratio
        self.direction = direction

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Flip the images or leave them."""
        if np.random.random_sample() < self.flip_ratio:
            code = 1 if self.direction == "horizontal" else 0
            for key in self.keys:
                results[key] = cv2.flip(results[key], code).reshape(results[key].shape)
        return results


@TRANSFORMS.register_module()
class RandomTransposeHW(BaseTransform):
    """Swap height and width of all images named in ``keys`` or of none; with two flips it gives all eight turns.

    Args:
        keys: The images.
        transpose_ratio: Probability.
    """

    def __init__(self, keys: str | Sequence[str] = PAIR, transpose_ratio: float = 0.5) -> None:
        self.keys = [keys] if isinstance(keys, str) else list(keys)
        self.transpose_ratio = transpose_ratio

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Transpose the images or leave them."""
        if np.random.random_sample() < self.transpose_ratio:
            for key in self.keys:
                results[key] = np.ascontiguousarray(results[key].swapaxes(0, 1))
            _update_shape(results)
        return results
