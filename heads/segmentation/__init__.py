"""Segmentation: heads that label pixels."""

from foveal.heads.segmentation.aspp_head import ASPPHead, DepthwiseSeparableASPPHead
from foveal.heads.segmentation.dcfam_head import DCFAMHead
from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.heads.segmentation.fcn_head import FCNHead
from foveal.heads.segmentation.ffnet_head import FFNetHead
from foveal.heads.segmentation.fpn_head import FPNHead
from foveal.heads.segmentation.kmax_fusion_head import KMaXFusionHead
from foveal.heads.segmentation.kmax_head import KMaXDeepLabHead
from foveal.heads.segmentation.lraspp_head import LRASPPHead
from foveal.heads.segmentation.mask2former_head import Mask2FormerHead
from foveal.heads.segmentation.maskformer_fusion_head import MaskFormerFusionHead
from foveal.heads.segmentation.pp_mobileseg_head import PPMobileSegHead
from foveal.heads.segmentation.psp_head import PSPHead
from foveal.heads.segmentation.segformer_head import SegformerHead
from foveal.heads.segmentation.uper_head import UPerHead

__all__ = [
    "ASPPHead",
    "DCFAMHead",
    "DecodeHead",
    "DepthwiseSeparableASPPHead",
    "FCNHead",
    "FFNetHead",
    "FPNHead",
    "KMaXDeepLabHead",
    "KMaXFusionHead",
    "LRASPPHead",
    "Mask2FormerHead",
    "MaskFormerFusionHead",
    "PPMobileSegHead",
    "PSPHead",
    "SegformerHead",
    "UPerHead",
]
