"""Anchors."""

from foveal.heads.anchors.anchor_generator import AnchorGenerator
from foveal.heads.anchors.point_generator import MlvlPointGenerator
from foveal.heads.anchors.ssd_anchor_generator import SSDAnchorGenerator

__all__ = ["AnchorGenerator", "MlvlPointGenerator", "SSDAnchorGenerator"]
