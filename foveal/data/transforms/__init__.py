"""Transforms of the data pipelines."""

from foveal.data.transforms.albu import Albu
from foveal.data.transforms.annotations import FilterAnnotations
from foveal.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop
from foveal.data.transforms.formatting import PackInputs
from foveal.data.transforms.geometric import Pad, RandomFlip
from foveal.data.transforms.load_panoptic import LoadPanopticAnnotations
from foveal.data.transforms.loading import LoadAnnotations, LoadImageFromFile
from foveal.data.transforms.photometric import PhotoMetricDistortion
from foveal.data.transforms.resize import (
    FixScaleResize,
    RandomChoiceResize,
    RandomResize,
    Resize,
    ResizeEdge,
    ResizeShortestEdge,
)
from foveal.data.transforms.restoration import Flip, MATLABLikeResize, ModCrop, PairedRandomCrop, RandomTransposeHW
from foveal.data.transforms.wrappers import RandomApply, RandomChoice

__all__ = [
    "Albu",
    "CenterCrop",
    "FilterAnnotations",
    "FixScaleResize",
    "Flip",
    "LoadAnnotations",
    "LoadImageFromFile",
    "LoadPanopticAnnotations",
    "MATLABLikeResize",
    "ModCrop",
    "PackInputs",
    "Pad",
    "PairedRandomCrop",
    "PhotoMetricDistortion",
    "RandomApply",
    "RandomChoice",
    "RandomChoiceResize",
    "RandomCrop",
    "RandomFlip",
    "RandomResize",
    "RandomResizedCrop",
    "RandomTransposeHW",
    "Resize",
    "ResizeEdge",
    "ResizeShortestEdge",
]
