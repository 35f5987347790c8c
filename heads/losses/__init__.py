"""Losses."""

from foveal.heads.losses.cross_entropy import CrossEntropyLoss

__all__ = ["CrossEntropyLoss"]
