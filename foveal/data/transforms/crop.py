"""Cropping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import (
    BACKENDS,
    INTERPOLATIONS,
    boxes_of_masks,
    check_choice,
    crop_sample,
    pair_of_ints,
    resize_sample,
    select_instances,
)
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

Window = tuple[int, int, int, int]
_CROP_TYPES = ("absolute", "absolute_range", "relative", "relative_range")


def random_window(shape: tuple[int, int], crop: tuple[int, int]) -> Window:
    """Return a random window (x1, y1, x2, y2) of at most ``crop`` (h, w) in an image of ``shape`` (h, w)."""
    height, width = min(crop[0], shape[0]), min(crop[1], shape[1])
    top = np.random.randint(0, shape[0] - height + 1)
    left = np.random.randint(0, shape[1] - width + 1)
    return left, top, left + width, top + height


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Crop a random window, with boxes, masks and label map; serves mmdet's and mmseg's configs.

    Instances whose box is outside are removed. An image smaller than the window keeps its size.

    Args:
        crop_size: (h, w) in pixels, or as a share of the image for the relative types; one number means both.
        crop_type: ``'absolute'``; ``'absolute_range'``: both edges drawn from [crop_size[0], crop_size[1]];
            ``'relative'``; ``'relative_range'``: shares drawn from [crop_size, 1].
        allow_negative_crop: Accept a crop without any box. Otherwise the sample is given up (None), and the dataset
            takes another one.
        recompute_bbox: Take the boxes anew from the cropped masks; instances with no mask pixel left are removed.
        bbox_clip_border: Clip boxes to the crop.
        cat_max_ratio: Draw again, up to ten times, while one class fills this share of the labelled pixels.
        ignore_index: The label that counts as unlabelled for ``cat_max_ratio``.

    Raises:
        ConfigError: If ``crop_size`` does not fit ``crop_type``.
    """

    def __init__(
        self,
        crop_size: float | Sequence[float],
        crop_type: str = "absolute",
        allow_negative_crop: bool = False,
        recompute_bbox: bool = False,
        bbox_clip_border: bool = True,
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
    ) -> None:
        check_choice("RandomCrop", "crop_type", crop_type, _CROP_TYPES)
        pair = tuple(crop_size) if isinstance(crop_size, Sequence) else (crop_size, crop_size)
        if crop_type.startswith("absolute"):
            pair_of_ints("RandomCrop", "crop_size", pair)
        elif len(pair) != 2 or not all(0 < share <= 1 for share in pair):
            raise ConfigError(f"RandomCrop: crop_size must be two shares in (0, 1] for {crop_type}, got {crop_size!r}")
        if crop_type == "absolute_range" and pair[0] > pair[1]:
            raise ConfigError(f"RandomCrop: crop_size must be (smallest, largest) for {crop_type}, got {crop_size!r}")
        self.crop_size: tuple[Any, ...] = pair
        self.crop_type = crop_type
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox = recompute_bbox
        self.bbox_clip_border = bbox_clip_border
        self.cat_max_ratio = cat_max_ratio
        self.ignore_index = ignore_index

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Crop a sample; sets ``img_shape``. Returns None for a crop without boxes, unless that is allowed."""
        shape = results["img"].shape[:2]
        crop = self._draw_size(shape)
        window = random_window(shape, crop)
        if self.cat_max_ratio < 1:
            for _ in range(10):
                if self._is_diverse(results["gt_seg_map"], window):
                    break
                window = random_window(shape, crop)
        crop_sample(results, window, self.bbox_clip_border)
        if results.get("gt_bboxes") is None:
            return results
        if self.recompute_bbox and results.get("gt_masks") is not None:
            results["gt_bboxes"] = boxes_of_masks(results["gt_masks"])
            select_instances(results, results["gt_bboxes"][:, 2] > 0)
        return results if len(results["gt_bboxes"]) or self.allow_negative_crop else None

    def _draw_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the (h, w) of the window for an image of ``shape``."""
        if self.crop_type == "absolute":
            return self.crop_size[0], self.crop_size[1]
        if self.crop_type == "absolute_range":
            low, high = self.crop_size
            height, width = (np.random.randint(min(edge, low), min(edge, high) + 1) for edge in shape)
            return height, width
        shares = np.array(self.crop_size)
        if self.crop_type == "relative_range":
            shares = shares + np.random.rand(2) * (1 - shares)
        height, width = (max(int(edge * share + 0.5), 1) for edge, share in zip(shape, shares, strict=True))
        return height, width

    def _is_diverse(self, seg_map: np.ndarray, window: Window) -> bool:
        """Tell whether no class fills ``cat_max_ratio`` of the labelled pixels in the window."""
        x1, y1, x2, y2 = window
        labels, counts = np.unique(seg_map[y1:y2, x1:x2], return_counts=True)
        counts = counts[labels != self.ignore_index]
        return len(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio


@TRANSFORMS.register_module()
class CenterCrop(BaseTransform):
    """Crop the middle of the image, with boxes, masks and label map.

    Instances whose box is outside are removed. An image smaller than the window keeps its size.

    Args:
        crop_size: (w, h) in pixels; one integer means both.
        clip_object_border: Clip boxes to the crop.
    """

    def __init__(self, crop_size: int | Sequence[int], clip_object_border: bool = True) -> None:
        self.crop_size = pair_of_ints("CenterCrop", "crop_size", crop_size)
        self.clip_object_border = clip_object_border

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop a sample; sets ``img_shape``."""
        height, width = results["img"].shape[:2]
        crop_width, crop_height = min(self.crop_size[0], width), min(self.crop_size[1], height)
        left, top = round((width - crop_width) / 2), round((height - crop_height) / 2)
        crop_sample(results, (left, top, left + crop_width, top + crop_height), self.clip_object_border)
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Crop a window of random area and aspect ratio and resize it (mmpretrain; Inception's augmentation).

    Args:
        scale: (h, w) afterwards; one integer means both.
        crop_ratio_range: Share of the image's area that the window has.
        aspect_ratio_range: Width divided by height of the window, drawn on a logarithmic scale.
        max_attempts: Draws before the middle of the image is taken.
        interpolation: Of the image.
        backend: ``'cv2'`` or ``'pillow'``.
    """

    def __init__(
        self,
        scale: int | Sequence[int],
        crop_ratio_range: Sequence[float] = (0.08, 1.0),
        aspect_ratio_range: Sequence[float] = (3 / 4, 4 / 3),
        max_attempts: int = 10,
        interpolation: str = "bilinear",
        backend: str = "cv2",
    ) -> None:
        check_choice("RandomResizedCrop", "backend", backend, BACKENDS)
        check_choice("RandomResizedCrop", "interpolation", interpolation, INTERPOLATIONS)
        self.scale = pair_of_ints("RandomResizedCrop", "scale", scale)
        self.crop_ratio_range = crop_ratio_range
        self.aspect_ratio_range = aspect_ratio_range
        self.max_attempts = max_attempts
        self.interpolation = interpolation
        self.backend = backend

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop and resize a sample; sets ``img_shape`` and ``scale_factor``."""
        crop_sample(results, self._draw(results["img"].shape[:2]))
        resize_sample(results, self.scale[::-1], self.interpolation, backend=self.backend)
        return results

    def _draw(self, shape: tuple[int, int]) -> Window:
        height, width = shape
        low, high = self.aspect_ratio_range
        smallest, largest = self.crop_ratio_range
        for _ in range(self.max_attempts):
            area = np.random.uniform(smallest, largest) * height * width
            aspect = math.exp(np.random.uniform(math.log(low), math.log(high)))
            crop = (round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect)))
            if 0 < crop[0] <= height and 0 < crop[1] <= width:
                return random_window(shape, crop)
        aspect = min(max(width / height, low), high)
        crop_height, crop_width = min(height, round(width / aspect)), min(width, round(height * aspect))
        left, top = (width - crop_width) // 2, (height - crop_height) // 2
        return left, top, left + crop_width, top + crop_height
