"""Image classification from a folder a class, or from a list of files with labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from foveal.data.base import Dataset
from foveal.data.coco_json import read_json
from foveal.data.files import list_files, name_some, read_lines
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def read_class_index(path: str) -> dict[str, str]:
    """Read which folder is which class.

    Args:
        path: A text file with a folder a line, its class name after a blank where it has another; or JSON: a list of
            folders, Keras's ``imagenet_class_index.json`` (``{"0": [folder, name], …}``), or
            ``{"classes": [{"wnid": folder, "name": name}, …]}``. The order is the labels'.

    Returns:
        Class name by folder, in label order.

    Raises:
        DataError: If the file is none of these or a folder comes twice.
    """
    if path.lower().endswith(".json"):
        pairs = _class_pairs(read_json(path), path)
    else:
        lines = [line.split(maxsplit=1) for line in read_lines(path)]
        pairs = [(words[0], words[-1]) for words in lines]
    folders = dict(pairs)
    if len(folders) != len(pairs):
        twice = [folder for folder, count in Counter(folder for folder, _ in pairs).items() if count > 1]
        raise DataError(f"{path}: {name_some(twice)} comes twice")
    return folders


def _class_pairs(content: Any, path: str) -> list[tuple[str, str]]:
    """Return folder and name of each class in one of the JSON forms."""
    try:
        if isinstance(content, list):
            return [(str(folder), str(folder)) for folder in content]
        if "classes" in content:
            return [(entry["wnid"], entry["name"]) for entry in content["classes"]]
        pairs = [content[str(label)] for label in range(len(content))]
        return [(folder, name) for folder, name in pairs]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no list of classes that we know: {error!r}") from None


@DATASETS.register_module()
class ImageFolder(Dataset):
    """One folder a class, as torchvision's and mmpretrain's readers of this layout.

    A record has ``img_path`` and ``gt_label``. Without more, the classes are the folders in alphabetical order.
    ``metainfo['classes']`` takes a subset or another order of the classes; the images of the rest are left out.

    Args:
        ann_file: Text file with ``path label`` a line, the path relative to ``data_prefix['img_path']``, the label a
            number: then the folders mean nothing, and the classes come from ``classes_file`` or ``metainfo``.
        classes_file: Which folder is which class, relative to ``data_root`` or absolute; see `read_class_index`. Needed
            where not every class has a folder, as in a part of ImageNet.
        data_prefix: ``img_path``: where the folders are.
        **kwargs: Other arguments of `Dataset`.

    Raises:
        ConfigError: If ``metainfo['classes']`` names one that does not exist.
        DataError: If a folder is in no class, or there is no image.
    """

    PREFIXES = ("img_path",)

    def __init__(self, ann_file: str = "", classes_file: str = "", **kwargs: Any) -> None:
        self.classes_file = classes_file
        super().__init__(ann_file=ann_file, **kwargs)

    def check_paths(self) -> None:
        """As in `Dataset`, and of ``classes_file``.

        Raises:
            DataError: If one does not exist.
        """
        super().check_paths()
        if self.classes_file and not os.path.isfile(self._classes_path):
            raise DataError(f"{type(self).__name__}: classes_file {self._classes_path!r} does not exist")

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one record an image, sorted by path or in the order of ``ann_file``.

        Raises:
            ConfigError: If the classes are not known or do not fit.
            DataError: If a folder is in no class, or a line of ``ann_file`` is not a path and a label.
        """
        index = read_class_index(self._classes_path) if self.classes_file else None
        return self._listed(index) if self.ann_file else self._from_folders(index)

    @property
    def _classes_path(self) -> str:
        return os.path.join(self.data_root, self.classes_file)

    @property
    def _folder(self) -> str:
        return self.data_prefix.get("img_path", self.data_root)

    def _from_folders(self, index: dict[str, str] | None) -> list[dict[str, Any]]:
        folders = sorted(entry.name for entry in os.scandir(self._folder) if entry.is_dir())
        if not folders:
            raise DataError(f"{type(self).__name__}: {self._folder!r} has no folders, one a class")
        if index is None:
            index = {name: name for name in folders}
        unknown = [name for name in folders if name not in index]
        if unknown:
            raise DataError(f"{self._folder}: {name_some(unknown)} not in {self._classes_path}")
        label_of = dict(zip(index, self._labels(list(index.values())), strict=True))
        records, others = [], 0
        for name in folders:
            for file in list_files(os.path.join(self._folder, name), IMAGE_SUFFIXES):
                if label_of[name] is None:
                    others += 1
                    continue
                records.append({"img_path": os.path.join(self._folder, name, file), "gt_label": label_of[name]})
        self.log_dropped({"images of other classes": others})
        return records

    def _labels(self, found: Sequence[str]) -> list[int | None]:
        """Return the label of each class that was found; None where the config does not want it."""
        chosen = self._metainfo.get("classes")
        classes = self.set_classes(found)
        if chosen is None:
            return list(range(len(found)))  # not by name: ImageNet has two cranes
        return [classes.index(name) if name in classes else None for name in found]

    def _listed(self, index: dict[str, str] | None) -> list[dict[str, Any]]:
        found = list(index.values()) if index is not None else self._metainfo.get("classes")
        if not found:
            raise ConfigError(f"{type(self).__name__}: with ann_file, give classes_file or metainfo=dict(classes=...)")
        labels = self._labels(found)
        records, others = [], 0
        for number, line in enumerate(read_lines(self.ann_file), 1):
            file, _, text = line.rpartition(" ")
            if not file or not text.isdecimal() or int(text) >= len(labels):
                raise DataError(f"{self.ann_file}: entry {number} is no path and label below {len(labels)}: {line!r}")
            label = labels[int(text)]
            if label is None:
                others += 1
                continue
            records.append({"img_path": os.path.join(self._folder, file), "gt_label": label})
        self.log_dropped({"images of other classes": others})
        return records
