"""Mamba-YOLO's blocks (Wang et al., AAAI 2025, arXiv:2406.05835, section 3): local convolutions, scans, a gated MLP.

The keys are those of https://github.com/HZAI-ZJNU/Mamba-YOLO, but for the norms', which are nested there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.layers.drop import DropPath
from foveal.layers.norm import LayerNorm2d
from foveal.ops.selective_scan import cross_selective_scan

EXPAND = 2
STATES = 16
MLP_RATIO = 4


def conv_bn_silu(in_channels: int, out_channels: int, bias: bool) -> nn.Sequential:
    """Return a pointwise convolution, batch normalisation with YOLO's constants and SiLU, keys ``0`` and ``1``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=bias), nn.BatchNorm2d(out_channels, 1e-3, 0.03), nn.SiLU()
    )


class GatedScan(nn.Module):
    """Scans of a map in four directions between pointwise convolutions, gated: the official code's ``SS2D``.

    Unlike `foveal.ops.selective_scan.SS2D` its projections are convolutions and its activation is GELU.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, rank = EXPAND * channels, math.ceil(channels / 16)
        self.in_proj = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj_weight = nn.Parameter(torch.empty(4, rank + 2 * STATES, inner))
        nn.init.uniform_(self.x_proj_weight, -(inner**-0.5), inner**-0.5)
        self.dt_projs_weight = nn.Parameter(torch.randn(4, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.randn(4, inner))
        self.A_logs = nn.Parameter(torch.zeros(4 * inner, STATES))
        self.Ds = nn.Parameter(torch.ones(4 * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x, gate = self.in_proj(x).chunk(2, 1)
        y = cross_selective_scan(
            F.gelu(self.conv2d(x)),
            self.x_proj_weight,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self.A_logs,
            self.Ds,
        )
        y = self.out_norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.out_proj(y * F.gelu(gate))


class RGBlock(nn.Module):
    """Gated MLP whose gate sees its neighbours.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * MLP_RATIO * channels // 3
        self.fc1 = nn.Conv2d(channels, 2 * hidden, 1)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        gate, value = self.fc1(x).chunk(2, 1)
        return self.fc2(F.gelu(self.dwconv(gate) + gate) * value)


class LSBlock(nn.Module):
    """Depthwise convolution, norm and MLP on a residual path.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels, 1e-3, 0.03)
        self.fc2 = nn.Conv2d(channels, channels, 1)
        self.fc3 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x + self.fc3(F.gelu(self.fc2(self.norm(self.fc1(x)))))


class VSSBlock(nn.Module):
    """The backbone's block: a projection, a scan of what `LSBlock` makes, `RGBlock`.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        drop_path: Probability of dropping a branch.
    """

    def __init__(self, in_channels: int, out_channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.proj_conv = conv_bn_silu(in_channels, out_channels, bias=True)
        self.lsblock = LSBlock(out_channels)
        self.norm = LayerNorm2d(out_channels)
        self.op = GatedScan(out_channels)
        self.norm2 = LayerNorm2d(out_channels)
        self.mlp = RGBlock(out_channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H, W]."""
        x = self.proj_conv(x)
        x = x + self.drop_path(self.op(self.norm(self.lsblock(x))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class XSSBlock(nn.Module):
    """The pyramid's block: `VSSBlock` with several scans in a row, and a projection only where channels change.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        num_scans: How many scans, at least 1.
    """

    def __init__(self, in_channels: int, out_channels: int, num_scans: int = 1) -> None:
        super().__init__()
        changes = in_channels != out_channels
        self.in_proj = conv_bn_silu(in_channels, out_channels, bias=False) if changes else nn.Identity()
        self.lsblock = LSBlock(out_channels)
        self.norm = LayerNorm2d(out_channels)
        self.ss2d = nn.Sequential(*(GatedScan(out_channels) for _ in range(num_scans)))
        self.norm2 = LayerNorm2d(out_channels)
        self.mlp = RGBlock(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H, W]."""
        x = self.in_proj(x)
        x = x + self.ss2d(self.norm(self.lsblock(x)))
        return x + self.mlp(self.norm2(x))
