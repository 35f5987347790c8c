"""Backbones: one file a family. Importing this folder registers them."""

from foveal.backbones.bts_encoder import BTSEncoder
from foveal.backbones.convnext import ConvNeXt, ConvNeXtTail
from foveal.backbones.convnext_isotropic import ConvNeXtIsotropic
from foveal.backbones.csp_darknet import CSPDarknet, CSPNeXt
from foveal.backbones.cvt import CvT, CvTTail
from foveal.backbones.dinat import DiNAT
from foveal.backbones.dinat_s import DiNAT_s
from foveal.backbones.efficientvim import EfficientViM, EfficientViMTail
from foveal.backbones.espcn import ESPCN
from foveal.backbones.femtonet import FemtoNet
from foveal.backbones.ffnet import FFNetResNet
from foveal.backbones.hornet import HorNet
from foveal.backbones.inceptionnext import InceptionNeXt, InceptionNeXtTail
from foveal.backbones.mit import MixVisionTransformer
from foveal.backbones.mobilenet_v2 import MobileNetV2
from foveal.backbones.mobilenet_v3 import MobileNetV3
from foveal.backbones.nat import NAT, NATTail
from foveal.backbones.odmamba import ODMamba
from foveal.backbones.resnet import ResNet, ResNetV1c, ResNetV1d
from foveal.backbones.shvit import SHViT, SHViTTail
from foveal.backbones.strideformer import StrideFormer
from foveal.backbones.swin import SwinTail, SwinTransformer
from foveal.backbones.timm_backbone import TimmBackbone
from foveal.backbones.transnext import TransNeXt, TransNeXtTail
from foveal.backbones.unireplknet import UniRepLKNet

__all__ = [
    "ESPCN",
    "NAT",
    "BTSEncoder",
    "CSPDarknet",
    "CSPNeXt",
    "ConvNeXt",
    "ConvNeXtIsotropic",
    "ConvNeXtTail",
    "CvT",
    "CvTTail",
    "DiNAT",
    "DiNAT_s",
    "EfficientViM",
    "EfficientViMTail",
    "FFNetResNet",
    "FemtoNet",
    "HorNet",
    "InceptionNeXt",
    "InceptionNeXtTail",
    "MixVisionTransformer",
    "MobileNetV2",
    "MobileNetV3",
    "NATTail",
    "ODMamba",
    "ResNet",
    "ResNetV1c",
    "ResNetV1d",
    "SHViT",
    "SHViTTail",
    "StrideFormer",
    "SwinTail",
    "SwinTransformer",
    "TimmBackbone",
    "TransNeXt",
    "TransNeXtTail",
    "UniRepLKNet",
]
