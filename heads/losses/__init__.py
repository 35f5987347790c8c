"""Losses."""

from foveal.heads.losses.cross_entropy import CrossEntropyLoss
from foveal.heads.losses.dice import DiceLoss
from foveal.heads.losses.distribution_focal import DistributionFocalLoss
from foveal.heads.losses.focal import FocalLoss
from foveal.heads.losses.gaussian_focal import GaussianFocalLoss
from foveal.heads.losses.image import EdgeLoss, FFTLoss, PerceptualLoss, PixelFocusLoss
from foveal.heads.losses.iou import CIoULoss, DIoULoss, GIoULoss, IoULoss
from foveal.heads.losses.lovasz import LovaszLoss
from foveal.heads.losses.pixel import CharbonnierLoss, MSELoss
from foveal.heads.losses.quality_focal import QualityFocalLoss
from foveal.heads.losses.silog import SiLogLoss
from foveal.heads.losses.smooth_l1 import L1Loss, SmoothL1Loss
from foveal.heads.losses.sum_loss import SumLoss
from foveal.heads.losses.varifocal import VarifocalLoss

__all__ = [
    "CIoULoss",
    "CharbonnierLoss",
    "CrossEntropyLoss",
    "DIoULoss",
    "DiceLoss",
    "DistributionFocalLoss",
    "EdgeLoss",
    "FFTLoss",
    "FocalLoss",
    "GIoULoss",
    "GaussianFocalLoss",
    "IoULoss",
    "L1Loss",
    "LovaszLoss",
    "MSELoss",
    "PerceptualLoss",
    "PixelFocusLoss",
    "QualityFocalLoss",
    "SiLogLoss",
    "SmoothL1Loss",
    "SumLoss",
    "VarifocalLoss",
]
