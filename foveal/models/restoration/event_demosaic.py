"""Demosaicing for event cameras by a Swin U-Net (Lu et al., CVPRW 2024, arXiv:2404.02731).

A raw image [N, 1, H, W] in [0, 1], as `foveal.data.mosaic` makes it of RGB, to RGB [N, 3, H, W]. Space to depth, a
convolution, positions as sines, a U-Net of shifted windows, depth to space. The authors' repository,
https://github.com/yunfanLu/ev-demosaic, holds no code: key names, depths and widths are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.swin import shift_mask
from foveal.errors import ConfigError
from foveal.models.restoration.image import check_image
from foveal.models.restoration.residual_groups import BasicLayer, init_transformer
from foveal.models.restoration.serpent import PatchExpand, PatchMerge
from foveal.models.restoration.swinir import SwinBlock
from foveal.registry import MODELS


@MODELS.register_module()
class EventDemosaicNet(BaseModule):
    """The network as a whole.

    Args:
        dim: C after space to depth; twice as many at each lower resolution. A multiple of 4.
        depths: Blocks at each resolution, the highest first; the decoder has as many, but at the lowest.
        num_heads: Heads at each resolution.
        window_size: Side of the windows.
        mlp_ratio: Width of the MLPs over C.
        block: Side of the block of sensor pixels that becomes one: 4 holds the whole pattern of a Quad Bayer sensor
            with event pixels.
        drop_path_rate: Probability of dropping the lowest resolution's branches; it rises from 0 at the first block.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, 1, H, W], any size (the pattern is repeated up to whole windows), to [N, 3, H, W].

    Raises:
        ConfigError: If the arguments do not fit each other.
        DataError: From ``forward``, if the image has another number of channels.
    """

    scale = 1
    in_channels = 1

    def __init__(
        self,
        dim: int = 64,
        depths: Sequence[int] = (4, 4, 4),
        num_heads: Sequence[int] = (4, 8, 16),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        block: int = 4,
        drop_path_rate: float = 0.1,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(depths) != len(num_heads) or dim % 4:
            raise ConfigError(
                "EventDemosaicNet needs as many num_heads as depths and a dim that is a multiple of 4, "
                f"got depths={tuple(depths)}, num_heads={tuple(num_heads)}, dim={dim}"
            )
        self.window_size, self.block, self.dim = window_size, block, dim
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").split(list(depths))

        def level(i: int) -> BasicLayer:
            return BasicLayer(
                SwinBlock(dim * 2**i, num_heads[i], window_size, j % 2 == 1, mlp_ratio, True, rate)
                for j, rate in enumerate(rates[i].tolist())
            )

        upper = range(len(depths) - 1)
        self.conv_first = nn.Conv2d(block**2, dim, 1)
        self.encoder = nn.ModuleList(map(level, upper))
        self.downs = nn.ModuleList(PatchMerge(dim * 2**i) for i in upper)
        self.bottleneck = level(len(upper))
        self.ups = nn.ModuleList(PatchExpand(dim * 2**i) for i in reversed(upper))
        self.mixes = nn.ModuleList(nn.Linear(2 * dim * 2**i, dim * 2**i) for i in reversed(upper))
        self.decoder = nn.ModuleList(map(level, reversed(upper)))
        self.norm = nn.LayerNorm(dim)
        self.conv_last = nn.Conv2d(dim, 3 * block**2, 3, padding=1)
        self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        """Make RGB of the raw image ``x`` [N, 1, H, W]; the result is not clamped."""
        check_image("EventDemosaicNet", x, 1)
        height, width = x.shape[-2:]
        y = self.conv_first(F.pixel_unshuffle(self._pad(x), self.block)).permute(0, 2, 3, 1)
        y, skips = y + _positions(y.shape[1], y.shape[2], self.dim, y), []
        for blocks, down in zip(self.encoder, self.downs, strict=True):
            skips.append(blocks(y, shift_mask(y, self.window_size)))
            y = down(skips[-1])
        y = self.bottleneck(y, shift_mask(y, self.window_size))
        for up, mix, blocks in zip(self.ups, self.mixes, self.decoder, strict=True):
            y = mix(torch.cat([up(y), skips.pop()], -1))
            y = blocks(y, shift_mask(y, self.window_size))
        y = self.conv_last(self.norm(y).permute(0, 3, 1, 2))
        return F.pixel_shuffle(y, self.block)[..., :height, :width]

    def _pad(self, x: Tensor) -> Tensor:
        """Go on at the bottom and right with what stands a whole number of blocks away: the pattern stays in step."""
        multiple = self.block * self.window_size * 2 ** len(self.downs)
        for axis in (2, 3):
            size = x.shape[axis]
            place = torch.arange(size + -size % multiple, device=x.device)
            whole = max(size // self.block, 1) * self.block
            # an image smaller than a block has no pattern to repeat
            x = x.index_select(axis, torch.where(place < size, place, place % whole).clamp(max=size - 1))
        return x


def _positions(height: int, width: int, dim: int, like: Tensor) -> Tensor:
    """Sines and cosines of the place, [height, width, dim]: half of the channels for the row, half for the column."""
    rates = 10000.0 ** (-torch.arange(dim // 4, dtype=like.dtype, device=like.device) / (dim // 4))
    parts = []
    for size in (height, width):
        angle = torch.arange(size, dtype=like.dtype, device=like.device)[:, None] * rates
        parts.append(torch.cat([angle.sin(), angle.cos()], 1))
    rows, columns = parts
    return torch.cat([rows[:, None].expand(-1, width, -1), columns.expand(height, -1, -1)], -1)
