"""Transforms of the data pipelines."""

from foveal.data.transforms.albu import Albu
from foveal.data.transforms.annotations import FilterAnnotations
from foveal.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop
from foveal.data.transforms.degrade import (
    BayerMosaic,
    GaussianNoise,
    JPEGCompression,
    PoissonNoise,
    RandomBlurKernel,
    RandomHoles,
    RealESRGANDegradation,
)
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
    "BayerMosaic",
    "CenterCrop",
    "FilterAnnotations",
    "FixScaleResize",
    "Flip",
    "GaussianNoise",
    "JPEGCompression",
    "LoadAnnotations",
    "LoadImageFromFile",
    "LoadPanopticAnnotations",
    "MATLABLikeResize",
    "ModCrop",
    "PackInputs",
    "Pad",
    "PairedRandomCrop",
    "PhotoMetricDistortion",
    "PoissonNoise",
    "RandomApply",
    "RandomBlurKernel",
    "RandomChoice",
    "RandomChoiceResize",
    "RandomCrop",
    "RandomFlip",
    "RandomHoles",
    "RandomResize",
    "RandomResizedCrop",
    "RandomTransposeHW",
    "RealESRGANDegradation",
    "Resize",
    "ResizeEdge",
    "ResizeShortestEdge",
]
