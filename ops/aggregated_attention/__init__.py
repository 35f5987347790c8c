"""Aggregated attention: every pixel attends to the window around it and to pooled positions, in one softmax."""

from foveal.ops.aggregated_attention.functional import aggregated_attention
from foveal.ops.aggregated_attention.reference import aggregated_attention_reference

__all__ = ["aggregated_attention", "aggregated_attention_reference"]
