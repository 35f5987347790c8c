"""SSD's anchors (Liu et al., ECCV 2016, arXiv:1512.02325)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foveal.errors import ConfigError
from foveal.heads.anchors.anchor_generator import AnchorGenerator, base_anchors
from foveal.heads.anchors.cache import SizeCache
from foveal.registry import TASK_UTILS

# sizes of the finest level's anchors as shares of the input, by input size and the ratio range's lower end: the paper's
FINEST = {(300, 0.15): (0.07, 0.15), (300, 0.2): (0.1, 0.2), (512, 0.1): (0.04, 0.1), (512, 0.15): (0.07, 0.15)}


@TASK_UTILS.register_module()
class SSDAnchorGenerator(AnchorGenerator):
    """Anchors of two square sizes and of one size in other shapes, as mmdet's ``SSDAnchorGenerator``.

    Args:
        strides: Pixels between grid points, one entry a level: a number, or (w, h).
        ratios: For each level the sides' ratios; each gives a wide and a high anchor.
        min_sizes: Pixels of a level's anchors. None: from ``basesize_ratio_range``.
        max_sizes: The larger square's side is the geometric mean of this and ``min_sizes``.
        basesize_ratio_range: Smallest and largest size as shares of ``input_size``.
        input_size: Pixels; 300 or 512.
        scale_major: Order of a point's anchors; SSD has False.

    Raises:
        ConfigError: If the levels do not agree, or there are no sizes for ``input_size``.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: Sequence[float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = True,
    ) -> None:
        self.strides = [(s, s) if isinstance(s, int | float) else (s[0], s[1]) for s in strides]
        if (min_sizes is None) != (max_sizes is None):
            raise ConfigError("SSDAnchorGenerator takes min_sizes and max_sizes, or neither")
        if min_sizes is None or max_sizes is None:
            min_sizes, max_sizes = _sizes(len(self.strides), basesize_ratio_range, input_size)
        if not len(ratios) == len(min_sizes) == len(max_sizes) == len(self.strides):
            raise ConfigError(
                f"SSDAnchorGenerator has {len(self.strides)} strides, but {len(ratios)} ratios, {len(min_sizes)} "
                f"min_sizes and {len(max_sizes)} max_sizes"
            )
        self.base_anchors = []
        for (width, height), level, small, large in zip(self.strides, ratios, min_sizes, max_sizes, strict=True):
            shapes = [1.0, *(r for ratio in level for r in (1 / ratio, ratio))]
            center = (width / 2, height / 2)
            anchors = base_anchors(small, [1.0, math.sqrt(large / small)], shapes, scale_major, center)
            # the smaller square, the larger one, then the other shapes of the smaller size
            self.base_anchors.append(anchors[[0, len(shapes), *range(1, len(shapes))]])
        self._cache = SizeCache()


def _sizes(levels: int, shares: Sequence[float], input_size: int) -> tuple[list[int], list[int]]:
    """The paper's smallest and largest sizes of each level, in whole pixels."""
    first = FINEST.get((input_size, shares[0]))
    if first is None:
        known = ", ".join(f"{low} at {size}" for size, low in FINEST)
        raise ConfigError(
            f"SSDAnchorGenerator has no sizes for basesize_ratio_range from {shares[0]} at input_size {input_size}; "
            f"known: {known}; or give min_sizes and max_sizes"
        )
    low, high = (int(share * 100) for share in shares)
    step = (high - low) // (levels - 2)
    steps = range(low, high + 1, step)
    least = [int(input_size * percent / 100) for percent in steps]
    most = [int(input_size * (percent + step) / 100) for percent in steps]
    finest = [int(input_size * round(share * 100) / 100) for share in first]
    return [finest[0], *least], [finest[1], *most]
