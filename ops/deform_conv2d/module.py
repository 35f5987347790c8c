"""Deformable convolution as a layer whose offsets are given."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.ops.deform_conv2d.functional import deform_conv2d


class DeformConv2d(nn.Conv2d):
    """A convolution whose taps are moved by offsets that come with the image; keys of nn.Conv2d and torchvision.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: One number, or one for H and one for W; so are the next three.
        stride: At least 1.
        padding: Zeros on each side.
        dilation: At least 1.
        groups: Divides C and O.
        bias: Add a learnt number to every output.
    """

    padding: tuple[int, ...]  # the names "same" and "valid" of nn.Conv2d are not for here

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Convolve; the shapes are those of ``foveal.ops.deform_conv2d``."""
        return deform_conv2d(x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)
