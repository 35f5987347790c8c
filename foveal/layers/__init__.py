"""Layers that several model families share."""

from foveal.layers.drop import DropPath
from foveal.layers.mlp import Mlp
from foveal.layers.neighborhood import NeighborhoodBlock, NeighborhoodLevel
from foveal.layers.norm import LayerNorm2d
from foveal.layers.pointwise import pointwise
from foveal.layers.squeeze_excite import SqueezeExcite
from foveal.layers.upscale import explain_scale, explain_stages, sub_pixel_stages

__all__ = [
    "DropPath",
    "LayerNorm2d",
    "Mlp",
    "NeighborhoodBlock",
    "NeighborhoodLevel",
    "SqueezeExcite",
    "explain_scale",
    "explain_stages",
    "pointwise",
    "sub_pixel_stages",
]
