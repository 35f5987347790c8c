"""Heads that measure depth."""

from foveal.heads.depth.bts_head import BTSHead
from foveal.heads.depth.depth_head import DepthHead
from foveal.heads.depth.lka_depth_head import LKADepthHead

__all__ = ["BTSHead", "DepthHead", "LKADepthHead"]
