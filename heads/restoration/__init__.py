"""Restoration: heads that make images."""

from foveal.heads.restoration.pixel_shuffle import PixelShuffleHead

__all__ = ["PixelShuffleHead"]
