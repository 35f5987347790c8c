"""Large-kernel depthwise convolution as a layer."""

from __future__ import annotations

from torch import Tensor, nn

from foveal.ops.large_kernel_depthwise_conv2d.functional import large_kernel_depthwise_conv2d


class LargeKernelDepthwiseConv2d(nn.Conv2d):
    """A depthwise nn.Conv2d, its keys and its initial values, that keeps H and W.

    Args:
        channels: C.
        kernel_size: Odd; one number, or one for H and one for W.
        bias: Add a learnt number to every channel.
        dilation: At least 1.

    Raises:
        ValueError: If ``kernel_size`` is even.
    """

    def __init__(self, channels: int, kernel_size: int | tuple[int, int], bias: bool = True, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel_size, dilation=dilation, groups=channels, bias=bias)
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.padding = tuple(dilation * (size // 2) for size in self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return large_kernel_depthwise_conv2d(x, self.weight, self.bias, dilation=self.dilation)
