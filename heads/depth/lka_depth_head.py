"""LKADepthHead: a decoder whose blocks see far through large kernels.

The idea is that of Xiang et al. (2024, arXiv:2409.17895): large kernel attention in the decoder keeps the map's two
dimensions and adapts to channels, and a learnt way up keeps edges. They publish no code; the attention is VAN's (Guo et
al., 2022, arXiv:2202.09741, section 3.1), the numbers are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.heads.depth.depth_head import SILOG, DepthHead, Options
from foveal.ops.large_kernel_depthwise_conv2d import LargeKernelDepthwiseConv2d
from foveal.registry import MODELS


class LargeKernelAttention(nn.Module):
    """Weigh every channel at every pixel by what a 21 x 21 window around it says; VAN's keys.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.conv_spatial = LargeKernelDepthwiseConv2d(channels, 7, dilation=3)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to the same shape."""
        return x * self.conv1(self.conv_spatial(self.conv0(x)))


class LKABlock(nn.Module):
    """VAN's block: attention between pointwise convolutions, then an MLP with a depthwise one; both on residual paths.

    Args:
        channels: C.
        mlp_ratio: Channels inside the MLP over C.
    """

    def __init__(self, channels: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = LargeKernelAttention(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)
        inner = mlp_ratio * channels
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.dwconv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.fc2 = nn.Conv2d(inner, channels, 1)
        self.layer_scale_1 = nn.Parameter(0.01 * torch.ones(channels))
        self.layer_scale_2 = nn.Parameter(0.01 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to the same shape."""
        y = self.norm1(x)
        y = self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(y)))) + y
        x = x + self.layer_scale_1[:, None, None] * y
        y = self.fc2(F.gelu(self.dwconv(self.fc1(self.norm2(x)))))
        return x + self.layer_scale_2[:, None, None] * y


@MODELS.register_module()
class LKADepthHead(DepthHead):
    """From the coarsest map up: join the finer one, a block of large kernel attention; then a learnt way to the pixels.

    Args:
        in_channels: Channels of every map, finest first; any number of maps.
        channels: Channels inside.
        stride: Pixels of the image to one of the finest map; that many times the logits are enlarged, by convolution
            and pixel shuffle.
        max_depth: The largest depth, in metres.
        min_depth: Depths up to this are not learnt from, in metres.
        reference_focal: See `DepthHead`.
        loss_decode: Config of the loss.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If the depths are not positive and rising.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 512),
        channels: int = 96,
        stride: int = 4,
        max_depth: float = 10.0,
        min_depth: float = 0.1,
        reference_focal: float | None = None,
        loss_decode: Options = SILOG,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(in_channels, max_depth, min_depth, reference_focal, loss_decode, init_cfg)
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.blocks = nn.ModuleList(LKABlock(channels) for _ in in_channels)
        self.upsample = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.GELU())
        self.get_depth = nn.Sequential(nn.Conv2d(channels, stride**2, 3, padding=1), nn.PixelShuffle(stride))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return depths [N, 1, stride * h, stride * w] in metres, h and w those of the finest map."""
        maps = [lateral(x) for lateral, x in zip(self.lateral_convs, feats, strict=True)]
        x = self.blocks[-1](maps[-1])
        for finer, block in zip(maps[-2::-1], list(self.blocks)[-2::-1], strict=True):
            x = block(finer + F.interpolate(x, finer.shape[2:], mode="bilinear", align_corners=False))
        return self.max_depth * self.get_depth(self.upsample(x)).sigmoid()
