"""Convolution in window order as a layer."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.ops.im2win_conv2d.functional import im2win_conv2d


class Im2winConv2d(nn.Conv2d):
    """An nn.Conv2d without dilation and groups, its keys and its initial values, computed in window order.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: One number, or one for H and one for W; so are the next two.
        stride: At least 1.
        padding: Zeros on each side, at least 0.
        bias: Add a learnt number to every channel.
    """

    padding: tuple[int, ...]  # nn.Conv2d also allows names

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H', W']."""
        return im2win_conv2d(x, self.weight, self.bias, self.stride, self.padding)
