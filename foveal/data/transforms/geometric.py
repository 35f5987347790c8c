"""Flipping and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import PADDING_MODES, check_choice, flip_sample, pad_image, pair_of_ints
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

_DIRECTIONS = ("horizontal", "vertical", "diagonal")


@TRANSFORMS.register_module()
class RandomFlip(BaseTransform):
    """Flip the image with its boxes, masks and label map, and ``gt_img`` of a restoration pair.

    Args:
        prob: Probability in [0, 1], shared evenly by the directions; or one for each direction.
        direction: ``'horizontal'``, ``'vertical'``, ``'diagonal'`` (both at once), or a list of these.

    Raises:
        ConfigError: If the probabilities do not match the directions or exceed 1 together.
    """

    def __init__(self, prob: float | Sequence[float], direction: str | Sequence[str] = "horizontal") -> None:
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        for name in self.directions:
            check_choice("RandomFlip", "direction", name, _DIRECTIONS)
        count = len(self.directions)
        self.probs = [prob / count] * count if isinstance(prob, (int, float)) else list(prob)
        if len(self.probs) != count or min(self.probs) < 0 or sum(self.probs) > 1 + 1e-9:
            raise ConfigError(
                "RandomFlip: prob must be in [0, 1], or one probability a direction with a sum of at most 1, "
                f"got prob={prob!r}, direction={direction!r}"
            )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Flip a sample or leave it; sets ``flip`` and ``flip_direction`` (None where not flipped)."""
        drawn = int(np.searchsorted(np.cumsum(self.probs), np.random.random_sample(), side="right"))
        results["flip"] = drawn < len(self.directions)
        results["flip_direction"] = self.directions[drawn] if results["flip"] else None
        if results["flip"]:
            flip_sample(results, results["flip_direction"])
        return results


@TRANSFORMS.register_module()
class Pad(BaseTransform):
    """Pad the image, masks and label map at the bottom and right.

    Args:
        size: (w, h) to pad to; an edge that is longer already stays.
        size_divisor: Pad to the next multiple of this.
        pad_to_square: Pad to the longer edge first; may go with ``size_divisor``.
        pad_val: Fill of the image, or a dict with ``img`` (a number, or one a channel), ``seg`` and ``masks``.
        padding_mode: ``'constant'``, ``'edge'``, ``'reflect'`` or ``'symmetric'`` for image and label map, with NumPy's
            meaning. Masks are always padded with a constant.

    Raises:
        ConfigError: If the arguments say no size, or two.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: float | dict[str, Any] | None = None,
        padding_mode: str = "constant",
    ) -> None:
        if (size is None) == (size_divisor is None and not pad_to_square):
            raise ConfigError(
                "Pad: give either size (w, h), or size_divisor and/or pad_to_square, "
                f"got size={size!r}, size_divisor={size_divisor!r}, pad_to_square={pad_to_square!r}"
            )
        check_choice("Pad", "padding_mode", padding_mode, PADDING_MODES)
        self.size = pair_of_ints("Pad", "size", size) if size is not None else None
        self.size_divisor = size_divisor or 1
        self.pad_to_square = pad_to_square
        given = pad_val if isinstance(pad_val, dict) else {} if pad_val is None else {"img": pad_val}
        self.pad_val = {"img": 0, "seg": 255, "masks": 0, **given}
        self.padding_mode = padding_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pad a sample; sets ``pad_shape`` and ``img_shape`` (h, w)."""
        height, width = results["img"].shape[:2]
        if self.size is not None:
            shape = (max(self.size[1], height), max(self.size[0], width))
        else:
            edges = (max(height, width),) * 2 if self.pad_to_square else (height, width)
            shape = tuple(-(-edge // self.size_divisor) * self.size_divisor for edge in edges)
        results["img"] = pad_image(results["img"], shape, self.pad_val["img"], self.padding_mode)
        results["pad_shape"] = results["img_shape"] = shape
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = pad_image(results["gt_seg_map"], shape, self.pad_val["seg"], self.padding_mode)
        if results.get("gt_depth_map") is not None:
            results["gt_depth_map"] = pad_image(results["gt_depth_map"], shape, 0)
        if results.get("gt_masks") is not None:
            missing = ((0, 0), (0, shape[0] - height), (0, shape[1] - width))
            results["gt_masks"] = np.pad(results["gt_masks"], missing, constant_values=self.pad_val["masks"])
        return results
