"""Semantic segmentation from two folders: images, and masks whose pixel values are the labels."""

from __future__ import annotations

import os
from typing import Any

from foveal.data.base import Dataset, select_classes
from foveal.data.files import list_files, read_lines, require_files
from foveal.errors import ConfigError
from foveal.registry import DATASETS

IGNORED = 255
"""The value of ignored pixels in ``gt_seg_map``."""


@DATASETS.register_module(name=["SegFolderDataset", "BaseSegDataset"])
class SegFolderDataset(Dataset):
    """Images and masks of the same name, as mmseg's ``BaseSegDataset`` reads them; its name works too.

    A record has ``img_path``, ``seg_map_path`` (where ``data_prefix`` has that folder), ``reduce_zero_label`` and
    ``label_map``: what the mask's values become after the reduction, or None for no change.

    A mask does not name its classes, so the config must, in the order of the values. A subclass that knows all classes
    of its masks (``METAINFO['classes']``) takes a subset or another order of them: ``label_map`` says how.

    Args:
        ann_file: Text file with the names to use, one a line, without suffix. Empty: all images in the folder.
        img_suffix: End of the images' names.
        seg_map_suffix: End of the masks' names, in place of ``img_suffix``.
        metainfo: ``classes``, needed; ``palette``.
        data_prefix: ``img_path``: folder of the images, searched with its sub-folders; ``seg_map_path``: of the masks.
        ignore_index: Mask value, after ``reduce_zero_label``, of pixels without a class; the pipeline gets it as 255.
        reduce_zero_label: Value 0 is ignored and value i + 1 is class i.
        **kwargs: Other arguments of `Dataset`.

    Raises:
        ConfigError: If the classes are not known.
        DataError: If an image of ``ann_file`` or a mask is missing.
    """

    PREFIXES = ("img_path", "seg_map_path")

    def __init__(
        self,
        ann_file: str = "",
        img_suffix: str = ".jpg",
        seg_map_suffix: str = ".png",
        ignore_index: int = IGNORED,
        reduce_zero_label: bool = False,
        **kwargs: Any,
    ) -> None:
        self.img_suffix = img_suffix
        self.seg_map_suffix = seg_map_suffix
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.label_map: dict[int, int] | None = None
        super().__init__(ann_file=ann_file, **kwargs)

    @property
    def mask_class_count(self) -> int:
        """How many classes the mask files have, whichever of them are used."""
        return len(self.METAINFO.get("classes") or self._metainfo.get("classes", ()))

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one record an image, sorted by name or in the order of ``ann_file``.

        Raises:
            ConfigError: If the classes are not known.
            DataError: If an image or a mask is missing; the first few are named.
        """
        self.settle_classes()
        pairs = self.pairs()
        who = type(self).__name__
        require_files([image for image, _ in pairs], "images of ann_file", who)
        require_files([mask for _, mask in pairs if mask is not None], "masks of data_prefix['seg_map_path']", who)
        records = []
        for image, mask in pairs:
            record = {"img_path": image, "label_map": self.label_map, "reduce_zero_label": self.reduce_zero_label}
            records.append(record if mask is None else record | {"seg_map_path": mask})
        return records

    def pairs(self) -> list[tuple[str, str | None]]:
        """Return the paths of all images with those of their masks, without looking whether the files exist."""
        images = self.data_prefix.get("img_path", self.data_root)
        masks = self.data_prefix.get("seg_map_path")
        if self.ann_file:
            files = [name + self.img_suffix for name in read_lines(self.ann_file)]
        else:
            files = list_files(images, self.img_suffix)  # a.JPG too
        return [
            (
                os.path.join(images, file),
                None if masks is None else os.path.join(masks, file[: -len(self.img_suffix)] + self.seg_map_suffix),
            )
            for file in files
        ]

    def settle_classes(self) -> None:
        """Settle classes, palette and ``label_map``.

        Raises:
            ConfigError: If the config names no classes, or some that the masks do not have.
        """
        known = self.METAINFO.get("classes")
        wanted = self._metainfo.get("classes")
        if not wanted:
            raise ConfigError(
                f"{type(self).__name__} needs metainfo=dict(classes=...): a mask does not name its classes"
            )
        label_map = {} if self.ignore_index == IGNORED else {self.ignore_index: IGNORED}
        if known is not None and tuple(wanted) != tuple(known):
            wanted = select_classes(wanted, known, type(self).__name__)
            label_map |= {old: wanted.index(name) if name in wanted else IGNORED for old, name in enumerate(known)}
            palette = self._metainfo.get("palette", ())
            if len(palette) == len(known):
                self._metainfo["palette"] = [palette[known.index(name)] for name in wanted]
        self.set_classes(list(wanted))
        self.label_map = label_map or None
