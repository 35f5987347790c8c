"""Operators; they need torch alone."""

from foveal.ops.aggregated_attention import aggregated_attention
from foveal.ops.dcnv3 import dcnv3
from foveal.ops.dcnv4 import dcnv4
from foveal.ops.deform_conv2d import deform_conv2d
from foveal.ops.im2win_conv2d import im2win_conv2d
from foveal.ops.large_kernel_depthwise_conv2d import large_kernel_depthwise_conv2d
from foveal.ops.multi_scale_deformable_attention import multi_scale_deformable_attention
from foveal.ops.neighborhood_attention import neighborhood_attention
from foveal.ops.selective_scan import selective_scan
from foveal.ops.state_space_duality import ssd_hidden_state

__all__ = [
    "aggregated_attention",
    "dcnv3",
    "dcnv4",
    "deform_conv2d",
    "im2win_conv2d",
    "large_kernel_depthwise_conv2d",
    "multi_scale_deformable_attention",
    "neighborhood_attention",
    "selective_scan",
    "ssd_hidden_state",
]
