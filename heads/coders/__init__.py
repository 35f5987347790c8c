"""Coders."""

from foveal.heads.coders.delta_xywh import DeltaXYWHBBoxCoder
from foveal.heads.coders.distance_point import DistancePointBBoxCoder

__all__ = ["DeltaXYWHBBoxCoder", "DistancePointBBoxCoder"]
