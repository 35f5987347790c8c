"""Serpent: a U-Net of selective state spaces for large images (Sepehri et al., 2024, arXiv:2403.17902).

[N, C, H, W] in [0, 1] to the same; for super-resolution the input is enlarged first, as in the paper. The image is read
as sequences in four directions, by `SS2D` as VMamba and MambaIR have it, at several resolutions. The official code,
https://github.com/AIF4S/Serpent, could not be read when this was written: key names, depths and widths are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.layers import DropPath
from foveal.models.restoration.image import check_image, pad_to_multiple
from foveal.models.restoration.residual_groups import init_transformer
from foveal.ops.selective_scan import SS2D
from foveal.registry import MODELS


class SerpentBlock(nn.Module):
    """`SS2D` behind a norm on a residual path."""

    def __init__(self, dim: int, d_state: int, expand: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.scan = SS2D(dim, d_state, expand)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        return x + self.drop_path(self.scan(self.norm(x)))


class PatchMerge(nn.Module):
    """Make one pixel of 2 x 2: [N, H, W, C] to [N, H/2, W/2, 2C]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve height and width, which are even."""
        n, height, width, dim = x.shape
        x = x.view(n, height // 2, 2, width // 2, 2, dim).transpose(2, 3).reshape(n, height // 2, width // 2, 4 * dim)
        return self.reduction(self.norm(x))


class PatchExpand(nn.Module):
    """Make 2 x 2 pixels of one: [N, H, W, 2C] to [N, 2H, 2W, C]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(2 * dim, 4 * dim, bias=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        n, height, width, _ = x.shape
        x = self.expand(x).view(n, height, width, 2, 2, -1).transpose(2, 3)
        return self.norm(x.reshape(n, 2 * height, 2 * width, -1))


@MODELS.register_module()
class Serpent(BaseModule):
    """Serpent as a whole network; it makes what is added to its input.

    Args:
        in_channels: C of the image.
        dim: Channels at the full resolution; twice as many at each lower one.
        depths: Blocks at each resolution of the encoder, the full one first; the decoder has as many, but at the
            lowest.
        d_state: States of a channel.
        expand: Channels inside the scans over those outside.
        drop_path_rate: Probability of dropping the lowest resolution's scans; it rises from 0 at the first block.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size (it is mirrored up to a multiple of the lowest resolution), to the same.

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    scale = 1

    def __init__(
        self,
        in_channels: int = 3,
        dim: int = 32,
        depths: Sequence[int] = (2, 2, 2, 2),
        d_state: int = 16,
        expand: float = 2.0,
        drop_path_rate: float = 0.0,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").split(list(depths))

        def level(i: int) -> nn.Sequential:
            return nn.Sequential(*(SerpentBlock(dim * 2**i, d_state, expand, rate) for rate in rates[i].tolist()))

        upper = range(len(depths) - 1)
        self.conv_first = nn.Conv2d(in_channels, dim, 3, padding=1)
        self.encoder = nn.ModuleList(map(level, upper))
        self.downs = nn.ModuleList(PatchMerge(dim * 2**i) for i in upper)
        self.bottleneck = level(len(upper))
        self.ups = nn.ModuleList(PatchExpand(dim * 2**i) for i in reversed(upper))
        self.mixes = nn.ModuleList(nn.Linear(2 * dim * 2**i, dim * 2**i) for i in reversed(upper))
        self.decoder = nn.ModuleList(map(level, reversed(upper)))
        self.norm = nn.LayerNorm(dim)
        self.conv_last = nn.Conv2d(dim, in_channels, 3, padding=1)
        self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        """Restore the image ``x`` [N, C, H, W]; the result is not clamped."""
        check_image("Serpent", x, self.in_channels)
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** len(self.downs))
        y, skips = self.conv_first(x).permute(0, 2, 3, 1), []
        for blocks, down in zip(self.encoder, self.downs, strict=True):
            skips.append(blocks(y))
            y = down(skips[-1])
        y = self.bottleneck(y)
        for up, mix, blocks in zip(self.ups, self.mixes, self.decoder, strict=True):
            y = blocks(mix(torch.cat([up(y), skips.pop()], -1)))
        return (x + self.conv_last(self.norm(y).permute(0, 3, 1, 2)))[..., :height, :width]
