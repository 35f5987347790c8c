"""Points on the grid of every feature level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.errors import ConfigError
from foveal.heads.anchors.cache import SizeCache, level_sizes
from foveal.heads.anchors.valid_flags import valid_flags
from foveal.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MlvlPointGenerator:
    """One point a grid cell, as mmdet's ``MlvlPointGenerator``.

    Args:
        strides: Pixels between grid points, one entry a level: a number, or (w, h).
        offset: Where in its cell a point lies, in units of the stride.
    """

    def __init__(self, strides: Sequence[int | Sequence[int]], offset: float = 0.5) -> None:
        self.strides = [(s, s) if isinstance(s, int | float) else (s[0], s[1]) for s in strides]
        self.offset = offset
        self._cache = SizeCache()

    @property
    def num_levels(self) -> int:
        """Feature levels."""
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Points per grid cell, one entry a level: always 1."""
        return [1] * self.num_levels

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        with_stride: bool = False,
    ) -> list[Tensor]:
        """Return the points of every level. They are kept between calls: do not change them in place.

        Args:
            featmap_sizes: (h, w) of each level.
            dtype: Of the result.
            device: Of the result.
            with_stride: Add the stride (w, h) to every point.

        Returns:
            One [h * w, 2] a level, x and y in pixels, rows of the grid first; [h * w, 4] ``with_stride``.

        Raises:
            ConfigError: If the number of levels is another than that of the strides.
        """
        sizes = level_sizes(featmap_sizes)
        if len(sizes) != self.num_levels:
            raise ConfigError(f"MlvlPointGenerator has {self.num_levels} strides, but got {len(sizes)} feature maps")
        key = (sizes, dtype, torch.device(device), with_stride)
        return self._cache.get(
            key, lambda: [self._level(i, size, dtype, device, with_stride) for i, size in enumerate(sizes)]
        )

    def valid_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], pad_shape: Sequence[int], device: torch.device | str = "cpu"
    ) -> list[Tensor] | None:
        """Tell which points lie in cells that start inside an image that is smaller than its batch.

        Args:
            featmap_sizes: (h, w) of each level.
            pad_shape: (h, w) in pixels of the image with its own padding.
            device: Of the result.

        Returns:
            One bool [h * w] a level, or None where all are valid.
        """
        return valid_flags(self.strides, self.num_base_priors, featmap_sizes, pad_shape, device)

    def _level(
        self, level: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device | str, with_stride: bool
    ) -> Tensor:
        stride_w, stride_h = self.strides[level]
        x = (torch.arange(size[1], device=device).to(dtype) + self.offset) * stride_w
        y = (torch.arange(size[0], device=device).to(dtype) + self.offset) * stride_h
        ys, xs = torch.meshgrid(y, x, indexing="ij")
        columns = [xs, ys]
        if with_stride:
            columns += [torch.full_like(xs, stride_w), torch.full_like(xs, stride_h)]
        return torch.stack(columns, dim=-1).view(-1, len(columns))
