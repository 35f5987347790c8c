"""Restoration: heads that make images."""

from foveal.heads.restoration.pixel_shuffle import PixelShuffleHead
from foveal.heads.restoration.unet_head import UNetHead

__all__ = ["PixelShuffleHead", "UNetHead"]
