"""Depthwise convolution with large kernels: each channel has its own, of up to 51 x 51 pixels."""

from foveal.ops.large_kernel_depthwise_conv2d.functional import large_kernel_depthwise_conv2d
from foveal.ops.large_kernel_depthwise_conv2d.module import LargeKernelDepthwiseConv2d
from foveal.ops.large_kernel_depthwise_conv2d.reference import large_kernel_depthwise_conv2d_reference

__all__ = [
    "LargeKernelDepthwiseConv2d",
    "large_kernel_depthwise_conv2d",
    "large_kernel_depthwise_conv2d_reference",
]
