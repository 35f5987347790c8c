"""MambaIR's U-Net for noise of real cameras (Guo et al., ECCV 2024, arXiv:2402.15648).

[N, 3, H, W] in [0, 1] to the same. Official code and weights, whose key names these are:
https://github.com/csguoh/MambaIR, folder realDenoising; its files keep the weights below ``params``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.models.restoration.image import check_image, pad_to_multiple
from foveal.models.restoration.mambair import VSSBlock
from foveal.models.restoration.residual_groups import init_transformer
from foveal.registry import MODELS

STATES = 16
LEVELS = 4


class Resample(nn.Module):
    """A convolution and a pixel shuffle: half the size and twice the channels, or the other way round."""

    def __init__(self, dim: int, up: bool) -> None:
        super().__init__()
        conv = nn.Conv2d(dim, dim * 2 if up else dim // 2, 3, padding=1, bias=False)
        self.body = nn.Sequential(conv, nn.PixelShuffle(2) if up else nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, 2C, H/2, W/2] or [N, C/2, 2H, 2W]."""
        return self.body(x)


@MODELS.register_module()
class MambaIRUNet(BaseModule):
    """The U-Net as a whole network; it makes what is added to its input.

    Args:
        in_channels: Of the image, before and after.
        dim: Channels at the full resolution, at least 30.
        num_blocks: Blocks at each of the four resolutions, the full one first.
        mlp_ratio: Channels inside the scans over those outside.
        num_refinement_blocks: Blocks at the end.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size (it is mirrored up to a multiple of 8), to the same.

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    scale = 1

    def __init__(
        self,
        in_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        mlp_ratio: float = 2.0,
        num_refinement_blocks: int = 4,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels

        def blocks(level: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(VSSBlock(dim * 2**level, STATES, mlp_ratio) for _ in range(count))

        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(in_channels, dim, 3, padding=1, bias=False)})
        for level in range(1, LEVELS):
            self.add_module(f"encoder_level{level}", blocks(level - 1, num_blocks[level - 1]))
            self.add_module(f"down{level}_{level + 1}", Resample(dim * 2 ** (level - 1), False))
        self.latent = blocks(LEVELS - 1, num_blocks[-1])
        for level in range(LEVELS - 1, 0, -1):
            width = dim * 2 ** (level - 1)
            self.add_module(f"up{level + 1}_{level}", Resample(2 * width, True))
            if level > 1:  # at the full resolution the two paths stay beside each other
                self.add_module(f"reduce_chan_level{level}", nn.Conv2d(2 * width, width, 1, bias=False))
            self.add_module(f"decoder_level{level}", blocks(max(level - 1, 1), num_blocks[level - 1]))
        self.refinement = blocks(1, num_refinement_blocks)
        self.output = nn.Conv2d(2 * dim, in_channels, 3, padding=1, bias=False)
        self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        """Restore the image ``x`` [N, C, H, W]; the result is not clamped."""
        check_image("MambaIRUNet", x, self.in_channels)
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** (LEVELS - 1))
        y, skips = self.patch_embed["proj"](x), []
        for level in range(1, LEVELS):
            skips.append(_run(getattr(self, f"encoder_level{level}"), y))
            y = getattr(self, f"down{level}_{level + 1}")(skips[-1])
        y = _run(self.latent, y)
        for level in range(LEVELS - 1, 0, -1):
            y = torch.cat([getattr(self, f"up{level + 1}_{level}")(y), skips.pop()], 1)
            if level > 1:
                y = getattr(self, f"reduce_chan_level{level}")(y)
            y = _run(getattr(self, f"decoder_level{level}"), y)
        return (self.output(_run(self.refinement, y)) + x)[..., :height, :width]


def _run(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    """Blocks on [N, C, H, W]."""
    x = x.permute(0, 2, 3, 1)
    for block in blocks:
        x = block(x)
    return x.permute(0, 3, 1, 2)
