"""Datasets, samplers and what reads the files."""

from foveal.data import transforms
from foveal.data.ade20k import ADE20KDataset
from foveal.data.base import Dataset
from foveal.data.cityscapes import CityscapesDataset
from foveal.data.coco import CocoDataset
from foveal.data.coco_panoptic import CocoPanopticDataset
from foveal.data.coco_stuff import COCOStuffDataset
from foveal.data.depth import DepthDataset
from foveal.data.image_folder import ImageFolder
from foveal.data.multi_image_mix import MultiImageMixDataset
from foveal.data.restoration import RestorationDataset
from foveal.data.samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler
from foveal.data.seg_folder import SegFolderDataset
from foveal.data.voc_seg import PascalVOCDataset

__all__ = [
    "ADE20KDataset",
    "AspectRatioBatchSampler",
    "COCOStuffDataset",
    "CityscapesDataset",
    "CocoDataset",
    "CocoPanopticDataset",
    "Dataset",
    "DefaultSampler",
    "DepthDataset",
    "ImageFolder",
    "InfiniteSampler",
    "MultiImageMixDataset",
    "PascalVOCDataset",
    "RestorationDataset",
    "SegFolderDataset",
    "transforms",
]
