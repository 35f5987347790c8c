"""Transforms of the data pipelines."""

from foveal.data.transforms.affine import RandomAffine
from foveal.data.transforms.albu import Albu
from foveal.data.transforms.annotations import FilterAnnotations
from foveal.data.transforms.copy_paste import CopyPaste
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
from foveal.data.transforms.depth import DepthCrop, LoadDepthAnnotation
from foveal.data.transforms.expand import Expand
from foveal.data.transforms.formatting import PackInputs
from foveal.data.transforms.geometric import Pad, RandomFlip
from foveal.data.transforms.load_panoptic import LoadPanopticAnnotations
from foveal.data.transforms.loading import LoadAnnotations, LoadImageFromFile
from foveal.data.transforms.min_iou_crop import MinIoURandomCrop
from foveal.data.transforms.mixup import CachedMixUp, MixUp
from foveal.data.transforms.mosaic import CachedMosaic, Mosaic
from foveal.data.transforms.photometric import PhotoMetricDistortion, YOLOXHSVRandomAug
from foveal.data.transforms.resize import (
    FixScaleResize,
    RandomChoiceResize,
    RandomResize,
    Resize,
    ResizeEdge,
    ResizeShortestEdge,
    ResizeToMultiple,
)
from foveal.data.transforms.restoration import Flip, MATLABLikeResize, ModCrop, PairedRandomCrop, RandomTransposeHW
from foveal.data.transforms.wrappers import RandomApply, RandomChoice

__all__ = [
    "Albu",
    "BayerMosaic",
    "CachedMixUp",
    "CachedMosaic",
    "CenterCrop",
    "CopyPaste",
    "DepthCrop",
    "Expand",
    "FilterAnnotations",
    "FixScaleResize",
    "Flip",
    "GaussianNoise",
    "JPEGCompression",
    "LoadAnnotations",
    "LoadDepthAnnotation",
    "LoadImageFromFile",
    "LoadPanopticAnnotations",
    "MATLABLikeResize",
    "MinIoURandomCrop",
    "MixUp",
    "ModCrop",
    "Mosaic",
    "PackInputs",
    "Pad",
    "PairedRandomCrop",
    "PhotoMetricDistortion",
    "PoissonNoise",
    "RandomAffine",
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
    "ResizeToMultiple",
    "YOLOXHSVRandomAug",
]
