"""Cross-stage partial layers of YOLOX and RTMDet (CSPNet, arXiv:1911.11929), with mmdet's key names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn

from foveal.layers.drop import DropPath

Options = dict[str, Any]

BN = {"type": "BN", "momentum": 0.03, "eps": 0.001}


def conv_kind(use_depthwise: bool) -> type[nn.Module]:
    """Return the class of a plain or of a depthwise-separable convolution with norm and activation."""
    return DepthwiseSeparableConvModule if use_depthwise else ConvModule


class CSPBlock(nn.Module):
    """Two convolutions and a residual path, keys ``conv1`` and ``conv2``.

    Args:
        channels: C, unchanged by the block.
        add_identity: Have the residual path.
        cspnext: RTMDet's block: a 3x3 convolution, then a separable one of 5x5; else YOLOX's, a 1x1 and a 3x3.
        use_depthwise: Separable convolutions for the 3x3 ones.
        drop_path: Probability of dropping the branch of a residual path.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.

    Shape:
        [N, C, H, W] to the same.
    """

    def __init__(
        self,
        channels: int,
        add_identity: bool,
        cspnext: bool,
        use_depthwise: bool,
        drop_path: float,
        layers: Options,
    ) -> None:
        super().__init__()
        conv = conv_kind(use_depthwise)
        if cspnext:
            self.conv1 = conv(channels, channels, 3, padding=1, **layers)
            self.conv2 = DepthwiseSeparableConvModule(channels, channels, 5, padding=2, **layers)
        else:
            self.conv1 = ConvModule(channels, channels, 1, **layers)
            self.conv2 = conv(channels, channels, 3, padding=1, **layers)
        self.add_identity = add_identity
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = self.conv2(self.conv1(x))
        return x + self.drop_path(y) if self.add_identity else y


class ChannelAttention(nn.Module):
    """Scale every channel by a linear function of the channels' means, between 0 and 1; key ``fc``.

    Args:
        channels: C.

    Shape:
        [N, C, H, W] to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class CSPLayer(nn.Module):
    """Blocks on one half of the channels, a shortcut for the other, both merged.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        expand_ratio: Width of a half, as a share of ``out_channels``.
        num_blocks: How many blocks.
        add_identity: The blocks have a residual path.
        use_depthwise: The blocks' 3x3 convolutions are separable.
        use_cspnext_block: RTMDet's blocks in place of YOLOX's.
        channel_attention: Scale the channels before they are merged.
        drop_path: Probability for each block; none: 0.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.

    Shape:
        [N, in_channels, H, W] to [N, out_channels, H, W].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        use_cspnext_block: bool = False,
        channel_attention: bool = False,
        drop_path: Sequence[float] | None = None,
        layers: Options | None = None,
    ) -> None:
        super().__init__()
        layers = layers or {}
        width = int(out_channels * expand_ratio)
        self.main_conv = ConvModule(in_channels, width, 1, **layers)
        self.short_conv = ConvModule(in_channels, width, 1, **layers)
        self.final_conv = ConvModule(2 * width, out_channels, 1, **layers)
        self.blocks = nn.Sequential(
            *(
                CSPBlock(width, add_identity, use_cspnext_block, use_depthwise, rate, layers)
                for rate in drop_path or [0.0] * num_blocks
            )
        )
        self.attention = ChannelAttention(2 * width) if channel_attention else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H, W]."""
        y = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(y if self.attention is None else self.attention(y))


class SPPBottleneck(nn.Module):
    """A map beside its maxima over growing windows (spatial pyramid pooling); keys ``conv1`` and ``conv2``.

    Args:
        channels: C, unchanged.
        kernel_sizes: Sides of the windows, odd.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.

    Shape:
        [N, C, H, W] to the same.
    """

    def __init__(self, channels: int, kernel_sizes: Sequence[int], layers: Options) -> None:
        super().__init__()
        self.kernel_sizes = tuple(kernel_sizes)
        self.conv1 = ConvModule(channels, channels // 2, 1, **layers)
        self.conv2 = ConvModule(channels // 2 * (len(self.kernel_sizes) + 1), channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = self.conv1(x)
        pooled = [F.max_pool2d(x, size, stride=1, padding=size // 2) for size in self.kernel_sizes]
        return self.conv2(torch.cat([x, *pooled], dim=1))


class Focus(nn.Module):
    """Four neighbouring pixels become channels, then a convolution: half the height and width; key ``conv``.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Of the convolution.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.

    Shape:
        [N, in_channels, H, W] to [N, out_channels, H / 2, W / 2], rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layers: Options) -> None:
        super().__init__()
        self.conv = ConvModule(in_channels * 4, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / 2, W / 2], rounded up."""
        return self.conv(space_to_depth(x))


def space_to_depth(x: Tensor) -> Tensor:
    """Make channels of 2 x 2 pixels: [N, C, H, W] to [N, 4 * C, H / 2, W / 2], rounded up with zeros, columns first."""
    x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
    left, right = x[..., ::2], x[..., 1::2]
    return torch.cat((left[..., ::2, :], left[..., 1::2, :], right[..., ::2, :], right[..., 1::2, :]), dim=1)
