"""MambaIR: image restoration by selective scans in four directions (Guo et al., ECCV 2024, arXiv:2402.15648).

[N, C, H, W] in [0, 1] to [N, C, H * s, W * s]. Official code and weights, whose key names these are:
https://github.com/csguoh/MambaIR; its files keep the weights below ``params``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foveal.layers import DropPath
from foveal.models.restoration.residual_groups import ResidualGroupNetwork, init_transformer
from foveal.ops.selective_scan import SS2D
from foveal.registry import MODELS


class ChannelAttention(nn.Module):
    """Scale every channel by what two convolutions make of the channels' means."""

    def __init__(self, dim: int, squeeze_factor: int = 30) -> None:
        super().__init__()
        inner = dim // squeeze_factor
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, inner, 1), nn.ReLU(), nn.Conv2d(inner, dim, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x * self.attention(x)


class CAB(nn.Module):
    """Convolutions through fewer channels, then `ChannelAttention`.

    Args:
        dim: C.
        light: Depthwise and dilated convolutions in place of full ones.
    """

    def __init__(self, dim: int, light: bool) -> None:
        super().__init__()
        inner = dim // (2 if light else 3)
        if light:
            layers = [
                nn.Conv2d(dim, inner, 1),
                nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
                nn.GELU(),
                nn.Conv2d(inner, dim, 1),
                nn.Conv2d(dim, dim, 3, padding=2, dilation=2, groups=dim),
            ]
        else:
            layers = [nn.Conv2d(dim, inner, 3, padding=1), nn.GELU(), nn.Conv2d(inner, dim, 3, padding=1)]
        self.cab = nn.Sequential(*layers, ChannelAttention(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.cab(x)


class VSSBlock(nn.Module):
    """`SS2D`, then `CAB`, each behind a norm, beside a path that is scaled by channel.

    Args:
        dim: C.
        d_state: States of a channel of `SS2D`.
        expand: Channels inside `SS2D` over C.
        light: The light form of `CAB`.
        drop_path: Probability of dropping the branch of `SS2D`.
    """

    def __init__(self, dim: int, d_state: int, expand: float, light: bool = False, drop_path: float = 0.0) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim)
        self.self_attention = SS2D(dim, d_state, expand)
        self.drop_path = DropPath(drop_path)
        self.skip_scale = nn.Parameter(torch.ones(dim))
        self.conv_blk = CAB(dim, light)
        self.ln_2 = nn.LayerNorm(dim)
        self.skip_scale2 = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        x = x * self.skip_scale + self.drop_path(self.self_attention(self.ln_1(x)))
        y = self.conv_blk(self.ln_2(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x * self.skip_scale2 + y


@MODELS.register_module()
class MambaIR(ResidualGroupNetwork):
    """MambaIR as a whole network.

    Args:
        scale: s, the factor of both sides; 1 for denoising and JPEG artifacts. The official code's ``upscale``.
        in_channels: C of the image, 3 or 1.
        embed_dim: Channels inside, at least 30.
        d_state: States of a channel.
        depths: Number of blocks of each group.
        mlp_ratio: Channels inside the scans over ``embed_dim``.
        drop_path_rate: Probability of dropping the last block's scans; it rises from 0 at the first.
        img_range: The network computes on [0, img_range]; the image stays in [0, 1].
        upsampler: ``pixelshuffle`` (classic), ``pixelshuffledirect`` (light, with light blocks), or empty: the network
            makes what is added to its input.
        resi_connection: ``1conv`` or ``3conv``, what ends each group.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size, to [N, C, H * s, W * s].

    Raises:
        ConfigError: If the arguments do not fit each other.
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(
        self,
        scale: int = 2,
        in_channels: int = 3,
        embed_dim: int = 96,
        d_state: int = 16,
        depths: Sequence[int] = (6, 6, 6, 6),
        mlp_ratio: float = 2.0,
        drop_path_rate: float = 0.1,
        img_range: float = 1.0,
        upsampler: str = "",
        resi_connection: str = "1conv",
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        light = upsampler == "pixelshuffledirect"
        groups = [[VSSBlock(embed_dim, d_state, mlp_ratio, light, next(rates)) for _ in range(d)] for d in depths]
        super().__init__(groups, scale, in_channels, embed_dim, img_range, upsampler, resi_connection, init_cfg)
        self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        """Restore the image ``x`` [N, C, H, W] to [N, C, H * s, W * s]; the result is not clamped."""
        return self.restore(x)
