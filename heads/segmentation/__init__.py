"""Segmentation: heads that label pixels."""

from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.heads.segmentation.fcn_head import FCNHead
from foveal.heads.segmentation.uper_head import UPerHead

__all__ = ["DecodeHead", "FCNHead", "UPerHead"]
