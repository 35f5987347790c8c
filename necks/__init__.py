"""Necks: from a backbone's feature maps to those that a head reads."""

from foveal.necks.bifpn import BiFPN
from foveal.necks.channel_mapper import ChannelMapper
from foveal.necks.csp_pafpn import YOLOXPAFPN, CSPNeXtPAFPN
from foveal.necks.ct_resnet_neck import CTResNetNeck
from foveal.necks.efficientvit_fpn import EfficientViTFPN
from foveal.necks.fpn import FPN
from foveal.necks.gn_fpn import GNFPN
from foveal.necks.mamba_yolo_pafpn import MambaYOLOPAFPN
from foveal.necks.msdeformattn_pixel_decoder import MSDeformAttnPixelDecoder
from foveal.necks.pafpn import PAFPN
from foveal.necks.shared_neck import SharedNeck
from foveal.necks.ssd_neck import SSDNeck

__all__ = [
    "FPN",
    "GNFPN",
    "PAFPN",
    "YOLOXPAFPN",
    "BiFPN",
    "CSPNeXtPAFPN",
    "CTResNetNeck",
    "ChannelMapper",
    "EfficientViTFPN",
    "MSDeformAttnPixelDecoder",
    "MambaYOLOPAFPN",
    "SSDNeck",
    "SharedNeck",
]
