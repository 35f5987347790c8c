"""PixelShuffleHead: sub-pixel convolution (Shi et al., CVPR 2016, arXiv:1609.05158)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers import explain_scale
from foveal.registry import MODELS


@MODELS.register_module()
class PixelShuffleHead(nn.Module):
    """Compute every output pixel at the low resolution, then lay them out.

    Args:
        in_channels: Channels of the last feature map.
        out_channels: Of the image.
        scale: s, the factor of both sides.
        kernel_size: Of the convolution, odd.

    Shape:
        a sequence whose last map is [N, in_channels, h, w] to [N, out_channels, h * s, w * s].

    Raises:
        ConfigError: If ``scale`` is less than 1 or ``kernel_size`` even.
    """

    def __init__(self, in_channels: int, out_channels: int = 3, scale: int = 2, kernel_size: int = 3) -> None:
        super().__init__()
        if scale < 1 or kernel_size % 2 == 0:
            given = f"scale={scale}, kernel_size={kernel_size}"
            raise ConfigError(f"PixelShuffleHead needs scale >= 1 and an odd kernel_size, got {given}")
        self.scale = scale
        self.out_channels = out_channels
        self.conv = nn.Conv2d(in_channels, out_channels * scale**2, kernel_size, padding=kernel_size // 2)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the image [N, out_channels, h * s, w * s] from the last map [N, in_channels, h, w] of ``feats``."""
        return self.shuffle(self.conv(feats[-1]))

    def explain_misfit(self, state_dict: dict[str, Tensor]) -> str | None:
        """Say why a checkpoint in this head's key names does not fit, where that is another scale."""
        return explain_scale(state_dict.get("conv.weight"), self.out_channels, self.scale)
