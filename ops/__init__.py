"""Operators; they need torch alone."""

from foveal.ops.neighborhood_attention import neighborhood_attention

__all__ = ["neighborhood_attention"]
