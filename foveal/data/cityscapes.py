"""Cityscapes, the 19 classes that are trained (Cordts et al., CVPR 2016, https://www.cityscapes-dataset.com).

Names and colours are those of the official scripts, https://github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

from typing import Any

from foveal.data.seg_folder import SegFolderDataset
from foveal.registry import DATASETS

CITYSCAPES: dict[str, tuple[int, int, int]] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The id that the evaluation server knows each class by."""


@DATASETS.register_module()
class CityscapesDataset(SegFolderDataset):
    """leftImg8bit/*/*_leftImg8bit.png and gtFine/*/*_gtFine_labelTrainIds.png, which the official scripts make.

    Args:
        img_suffix: As in `SegFolderDataset`.
        seg_map_suffix: As in `SegFolderDataset`.
        **kwargs: Other arguments of `SegFolderDataset`.
    """

    METAINFO = {
        "classes": tuple(CITYSCAPES),
        "palette": [list(colour) for colour in CITYSCAPES.values()],
        "label_ids": LABEL_IDS,
    }

    def __init__(
        self,
        img_suffix: str = "_leftImg8bit.png",
        seg_map_suffix: str = "_gtFine_labelTrainIds.png",
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
