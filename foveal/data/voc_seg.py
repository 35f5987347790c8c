"""PASCAL VOC 2012, semantic segmentation of 20 classes and background (http://host.robots.ox.ac.uk/pascal/VOC)."""

from __future__ import annotations

from typing import Any

from foveal.data.seg_folder import SegFolderDataset
from foveal.registry import DATASETS

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def voc_colour(label: int) -> list[int]:
    """Return the colour of a label as VOC's devkit computes it: red, green and blue take turns at its bits."""
    colour = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            colour[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return colour


@DATASETS.register_module()
class PascalVOCDataset(SegFolderDataset):
    """JPEGImages/*.jpg and SegmentationClass/*.png, whose values are classes and 255, listed in a text file.

    Args:
        ann_file: Text file with the names to use, such as ``ImageSets/Segmentation/train.txt``.
        img_suffix: As in `SegFolderDataset`.
        seg_map_suffix: As in `SegFolderDataset`.
        **kwargs: Other arguments of `SegFolderDataset`.
    """

    METAINFO = {"classes": VOC_CLASSES, "palette": [voc_colour(label) for label in range(len(VOC_CLASSES))]}

    def __init__(self, ann_file: str, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs: Any) -> None:
        super().__init__(ann_file=ann_file, img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
