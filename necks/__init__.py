"""Necks: from a backbone's feature maps to those that a head reads."""

from foveal.necks.efficientvit_fpn import EfficientViTFPN
from foveal.necks.fpn import FPN

__all__ = ["FPN", "EfficientViTFPN"]
