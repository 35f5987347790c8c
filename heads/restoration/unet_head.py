"""UNetHead: from the feature maps of any backbone back to an image (Ronneberger et al., 2015, arXiv:1505.04597)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.registry import MODELS


@MODELS.register_module()
class UNetHead(nn.Module):
    """Enlarge the coarsest map step by step, reading a finer one at each, and end in a sub-pixel convolution.

    With ``upsample_residual`` the restorer adds its input to the result, so that the head makes only what is missing.

    Args:
        in_channels: Of each map, the finest first; the model fills it.
        in_strides: Of each map; the model fills it.
        channels: Of the head's map at the finest of them; twice as many at each coarser one.
        out_channels: Of the image.
        scale: s, the size of the image over that of the network's input.
        in_index: Which maps of the backbone or neck are read. None: all.

    Shape:
        maps [N, in_channels[i], H / in_strides[i], W / in_strides[i]] to [N, out_channels, H * s, W * s].

    Raises:
        ConfigError: If the maps are not in order, finest first.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 32,
        out_channels: int = 3,
        scale: int = 1,
        in_index: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if len(in_channels) != len(in_strides) or sorted(in_strides) != list(in_strides):
            raise ConfigError(
                f"UNetHead reads maps in order, the finest first, got in_channels={list(in_channels)}, "
                f"in_strides={list(in_strides)}"
            )
        self.in_index, self.scale, self.out_channels = in_index, scale, out_channels
        self.multiple = max(in_strides)
        dims = [channels * 2**i for i in range(len(in_channels))]
        self.laterals = nn.ModuleList(nn.Conv2d(c, dim, 1) for c, dim in zip(in_channels, dims, strict=True))
        self.reduces = nn.ModuleList(nn.Conv2d(2 * dim, dim, 1) for dim in dims[:-1])
        self.mixes = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2 * dim, dim, 3, padding=1), nn.GELU(), nn.Conv2d(dim, dim, 3, padding=1), nn.GELU()
            )
            for dim in dims[:-1]
        )
        factor = in_strides[0] * scale
        self.conv = nn.Conv2d(channels, out_channels * factor**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the image of the maps ``feats``, the finest first."""
        if self.in_index is not None:
            feats = [feats[i] for i in self.in_index]
        maps = [lateral(feat) for lateral, feat in zip(self.laterals, feats, strict=True)]
        y = maps[-1]
        for i in reversed(range(len(self.mixes))):
            y = F.interpolate(self.reduces[i](y), maps[i].shape[-2:], mode="bilinear")
            y = self.mixes[i](torch.cat([y, maps[i]], 1))
        return self.shuffle(self.conv(y))
