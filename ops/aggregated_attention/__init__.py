"""Aggregated attention: every pixel attends to the window around it and to pooled positions, in one softmax."""

from foveal.ops.aggregated_attention.functional import aggregated_attention
from foveal.ops.aggregated_attention.module import AggregatedAttention, CosineAttention
from foveal.ops.aggregated_attention.positions import Positions, make_positions
from foveal.ops.aggregated_attention.reference import aggregated_attention_reference

__all__ = [
    "AggregatedAttention",
    "CosineAttention",
    "Positions",
    "aggregated_attention",
    "aggregated_attention_reference",
    "make_positions",
]
