"""Operators; they need torch alone."""

from foveal.ops.aggregated_attention import aggregated_attention
from foveal.ops.neighborhood_attention import neighborhood_attention

__all__ = ["aggregated_attention", "neighborhood_attention"]
