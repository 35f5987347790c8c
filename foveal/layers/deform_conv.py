"""Deformable convolution with the parameters of mmcv's ``DCNv2`` (Zhu et al., CVPR 2019, arXiv:1811.11168)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from foveal.ops import deform_conv2d


class ModulatedDeformConv2dPack(nn.Conv2d):
    """A convolution that predicts where it looks and how much each place counts, by the layer ``conv_offset``.

    Arguments are those of ``nn.Conv2d`` and the number of ``deform_groups``, which share offsets. At first it looks
    straight ahead, at half weight.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Side of the kernel.
        stride: Of the kernel.
        padding: Zeros around the map.
        dilation: Of the kernel.
        groups: Of channels.
        deform_groups: Groups of channels with offsets of their own.
        bias: Have one.

    Shape:
        [N, in_channels, H, W] to [N, out_channels, H', W'].
    """

    padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        count = deform_groups * 3 * kernel_size**2
        self.conv_offset = nn.Conv2d(in_channels, count, kernel_size, stride, padding, dilation)
        nn.init.zeros_(self.conv_offset.weight)
        if self.conv_offset.bias is not None:
            nn.init.zeros_(self.conv_offset.bias)

    def reset_parameters(self) -> None:
        """Initialise the kernel as mmcv does: uniform, by the number of inputs."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H', W']."""
        first, second, mask = self.conv_offset(x).chunk(3, dim=1)
        offset = torch.cat((first, second), dim=1)
        return deform_conv2d(
            x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask.sigmoid()
        )
