"""Images with depth maps: folders, as mmseg reads NYU, and the lists of BTS for NYU and KITTI."""

from __future__ import annotations

import os
from typing import Any

from foveal.data.base import Dataset
from foveal.data.files import list_files, read_lines, require_files
from foveal.errors import DataError
from foveal.registry import DATASETS


@DATASETS.register_module(name=["DepthDataset", "NYUDataset"])
class DepthDataset(Dataset):
    """Images and 16-bit PNGs of depth; mmseg's ``NYUDataset``.

    A record has ``img_path``, ``depth_map_path`` and, from a list, ``focal`` in pixels.

    Args:
        ann_file: A list of BTS (https://github.com/cleinc/bts, train_test_inputs): an image, its depth map, or ``None``
            where there is none, and the focal length a line, below the folders of ``data_prefix``. Images without a
            depth map are left out. Empty: all images of the folder, and depth maps of the same name.
        data_prefix: ``img_path``: folder of the images; ``depth_map_path``: of the depth maps.
        img_suffix: End of the images' names, where there is no list.
        depth_map_suffix: End of the depth maps' names, in place of ``img_suffix``.
        **kwargs: Other arguments of `Dataset`.

    Raises:
        DataError: If a file is missing, or a line is not of that form; names it.
    """

    PREFIXES = ("img_path", "depth_map_path")

    def __init__(
        self,
        ann_file: str = "",
        img_suffix: str = ".jpg",
        depth_map_suffix: str = ".png",
        **kwargs: Any,
    ) -> None:
        self.img_suffix = img_suffix
        self.depth_map_suffix = depth_map_suffix
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one record an image.

        Raises:
            DataError: If a file is missing, or a line of the list is of another form.
        """
        records = self.records()
        for key in ("img_path", "depth_map_path"):
            require_files([record[key] for record in records], f"files of data_prefix[{key!r}]", type(self).__name__)
        return records

    def records(self) -> list[dict[str, Any]]:
        """Return the records without looking whether the files exist."""
        images = self.data_prefix.get("img_path", self.data_root)
        depths = self.data_prefix.get("depth_map_path", self.data_root)
        if not self.ann_file:
            return [
                {
                    "img_path": os.path.join(images, file),
                    "depth_map_path": os.path.join(depths, file[: -len(self.img_suffix)] + self.depth_map_suffix),
                }
                for file in list_files(images, self.img_suffix)
            ]
        records = []
        for number, line in enumerate(read_lines(self.ann_file), start=1):
            parts = line.split()
            try:
                image, depth, focal = parts[0], parts[1], float(parts[2])
            except (IndexError, ValueError) as error:
                raise DataError(
                    f"{self.ann_file}, line {number}: expected an image, a depth map and a focal length, got {line!r}"
                ) from error
            if depth != "None":
                # BTS's lists for NYU begin with a slash
                image, depth = image.lstrip("/"), depth.lstrip("/")
                records.append(
                    {
                        "img_path": os.path.join(images, image),
                        "depth_map_path": os.path.join(depths, depth),
                        "focal": focal,
                    }
                )
        return records
