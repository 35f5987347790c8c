"""Anchors."""

from foveal.heads.anchors.anchor_generator import AnchorGenerator
from foveal.heads.anchors.point_generator import MlvlPointGenerator

__all__ = ["AnchorGenerator", "MlvlPointGenerator"]
