"""Multi-scale deformable attention: every query reads a few points of every level, where it chooses to."""

from foveal.ops.multi_scale_deformable_attention.functional import multi_scale_deformable_attention
from foveal.ops.multi_scale_deformable_attention.module import MultiScaleDeformableAttention
from foveal.ops.multi_scale_deformable_attention.reference import multi_scale_deformable_attention_reference

__all__ = [
    "MultiScaleDeformableAttention",
    "multi_scale_deformable_attention",
    "multi_scale_deformable_attention_reference",
]
