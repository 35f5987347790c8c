"""Convolution in window order (im2win): each row of windows is stored once, and every window in it is contiguous."""

from foveal.ops.im2win_conv2d.functional import im2win_conv2d
from foveal.ops.im2win_conv2d.module import Im2winConv2d
from foveal.ops.im2win_conv2d.reference import im2win, im2win_conv2d_reference

__all__ = ["Im2winConv2d", "im2win", "im2win_conv2d", "im2win_conv2d_reference"]
