"""Operators; they need torch alone."""

from foveal.ops.aggregated_attention import aggregated_attention
from foveal.ops.large_kernel_depthwise_conv2d import large_kernel_depthwise_conv2d
from foveal.ops.multi_scale_deformable_attention import multi_scale_deformable_attention
from foveal.ops.neighborhood_attention import neighborhood_attention
from foveal.ops.selective_scan import selective_scan
from foveal.ops.state_space_duality import ssd_hidden_state

__all__ = [
    "aggregated_attention",
    "large_kernel_depthwise_conv2d",
    "multi_scale_deformable_attention",
    "neighborhood_attention",
    "selective_scan",
    "ssd_hidden_state",
]
