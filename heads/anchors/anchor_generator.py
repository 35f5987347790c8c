"""Anchor boxes on the grid of every feature level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.errors import ConfigError
from foveal.heads.anchors.cache import SizeCache, level_sizes
from foveal.heads.anchors.valid_flags import valid_flags
from foveal.registry import TASK_UTILS

Size = tuple[int, int]


@TASK_UTILS.register_module()
class AnchorGenerator:
    """The same few boxes around every point of a level's grid, as mmdet's ``AnchorGenerator``.

    Args:
        strides: Pixels between grid points, one entry a level: a number, or (w, h).
        ratios: Height over width of the anchors.
        scales: Side of an anchor in units of its level's base size. Either this or the octave pair is given.
        base_sizes: Pixels, one a level. None: the smaller stride of the level.
        scale_major: Order of a point's anchors: all scales of the first ratio first, or the other way round.
        octave_base_scale: Scale of the first anchor of an octave (RetinaNet: 4).
        scales_per_octave: Scales 2^(i / n) times the first one for i < n.
        centers: Centre (x, y) of the first grid point's anchors in pixels, one a level. None: see ``center_offset``.
        center_offset: The same in units of the base size, in [0, 1].

    Raises:
        ConfigError: If neither or both of the ways to give the scales are used, or the levels do not agree.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[Sequence[float]] | None = None,
        center_offset: float = 0.0,
    ) -> None:
        if octave_base_scale is not None and scales_per_octave is not None:
            octave = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        else:
            octave = []
        if bool(octave) == (scales is not None):
            raise ConfigError("AnchorGenerator takes either scales or octave_base_scale with scales_per_octave")
        if centers is not None and center_offset != 0:
            raise ConfigError("AnchorGenerator takes either centers or center_offset")
        self.strides = [(s, s) if isinstance(s, int | float) else (s[0], s[1]) for s in strides]
        sizes = [min(s) for s in self.strides] if base_sizes is None else list(base_sizes)
        for name, given in (("base_sizes", sizes), ("centers", centers)):
            if given is not None and len(given) != len(self.strides):
                raise ConfigError(f"AnchorGenerator has {len(self.strides)} strides but {len(given)} {name}")
        offsets = centers if centers is not None else [(center_offset * size, center_offset * size) for size in sizes]
        points = zip(sizes, offsets, strict=True)
        self.base_anchors = [
            base_anchors(size, scales or octave, ratios, scale_major, center) for size, center in points
        ]
        self._cache = SizeCache()

    @property
    def num_levels(self) -> int:
        """Feature levels."""
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per grid point, one entry a level."""
        return [len(anchors) for anchors in self.base_anchors]

    def grid_priors(
        self,
        featmap_sizes: Sequence[Size],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> list[Tensor]:
        """Return the anchors of every level. They are kept between calls: do not change them in place.

        Args:
            featmap_sizes: (h, w) of each level.
            dtype: Of the result.
            device: Of the result.

        Returns:
            One [h * w * A, 4] a level: x1, y1, x2, y2 in pixels, rows of the grid first, a point's A anchors together.

        Raises:
            ConfigError: If the number of levels is another than that of the strides.
        """
        sizes = level_sizes(featmap_sizes)
        if len(sizes) != self.num_levels:
            raise ConfigError(f"AnchorGenerator has {self.num_levels} strides, but got {len(sizes)} feature maps")
        key = (sizes, dtype, torch.device(device))
        return self._cache.get(key, lambda: [self._level(i, size, dtype, device) for i, size in enumerate(sizes)])

    def valid_flags(
        self, featmap_sizes: Sequence[Size], pad_shape: Sequence[int], device: torch.device | str = "cpu"
    ) -> list[Tensor] | None:
        """Tell which anchors start inside an image that is smaller than its batch.

        Args:
            featmap_sizes: (h, w) of each level.
            pad_shape: (h, w) in pixels of the image with its own padding.
            device: Of the result.

        Returns:
            One bool [h * w * A] a level, or None where all are valid.
        """
        return valid_flags(self.strides, self.num_base_priors, featmap_sizes, pad_shape, device)

    def _level(self, level: int, size: Size, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        height, width = size
        stride_w, stride_h = self.strides[level]
        x = torch.arange(width, device=device).to(dtype) * stride_w
        y = torch.arange(height, device=device).to(dtype) * stride_h
        ys, xs = torch.meshgrid(y, x, indexing="ij")
        shifts = torch.stack((xs, ys, xs, ys), dim=-1).view(-1, 1, 4)
        return (shifts + self.base_anchors[level].to(device=device, dtype=dtype)).view(-1, 4)


def base_anchors(
    size: float, scales: Sequence[float], ratios: Sequence[float], scale_major: bool, center: Sequence[float]
) -> Tensor:
    """Return the anchors of the first grid point, float64 [A, 4].

    Args:
        size: Side in pixels that the scales multiply.
        scales: Of the anchors.
        ratios: Height over width of the anchors.
        scale_major: All scales of the first ratio first, or the other way round.
        center: x, y in pixels.
    """
    pairs = [(r, s) for r in ratios for s in scales] if scale_major else [(r, s) for s in scales for r in ratios]
    boxes = []
    for ratio, scale in pairs:
        half_w, half_h = 0.5 * size * scale / math.sqrt(ratio), 0.5 * size * scale * math.sqrt(ratio)
        boxes.append((center[0] - half_w, center[1] - half_h, center[0] + half_w, center[1] + half_h))
    return torch.tensor(boxes, dtype=torch.float64)
