"""Deformable convolution, v1 and v2: every tap of the kernel reads where its offset points, between pixels."""

from foveal.ops.deform_conv2d.functional import deform_conv2d
from foveal.ops.deform_conv2d.module import DeformConv2d
from foveal.ops.deform_conv2d.reference import deform_conv2d_reference

__all__ = ["DeformConv2d", "deform_conv2d", "deform_conv2d_reference"]
