"""Losses."""

from foveal.heads.losses.cross_entropy import CrossEntropyLoss
from foveal.heads.losses.focal import FocalLoss
from foveal.heads.losses.iou import GIoULoss, IoULoss
from foveal.heads.losses.pixel import CharbonnierLoss, MSELoss
from foveal.heads.losses.smooth_l1 import L1Loss, SmoothL1Loss

__all__ = [
    "CharbonnierLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "GIoULoss",
    "IoULoss",
    "L1Loss",
    "MSELoss",
    "SmoothL1Loss",
]
