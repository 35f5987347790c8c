"""Neighbourhood attention: every pixel attends to the window around it, dilated or not, with a relative bias."""

from foveal.ops.neighborhood_attention.functional import neighborhood_attention
from foveal.ops.neighborhood_attention.module import NeighborhoodAttention2D
from foveal.ops.neighborhood_attention.reference import neighborhood_attention_reference

__all__ = ["NeighborhoodAttention2D", "neighborhood_attention", "neighborhood_attention_reference"]
