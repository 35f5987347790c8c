"""Backbones: one file a family. Importing this folder registers them."""

from foveal.backbones.convnext import ConvNeXt, ConvNeXtTail
from foveal.backbones.espcn import ESPCN
from foveal.backbones.resnet import ResNet, ResNetV1c, ResNetV1d
from foveal.backbones.timm_backbone import TimmBackbone

__all__ = ["ESPCN", "ConvNeXt", "ConvNeXtTail", "ResNet", "ResNetV1c", "ResNetV1d", "TimmBackbone"]
