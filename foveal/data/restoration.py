"""Restoration: sharp images with their low-quality partners, or alone, to be degraded by the pipeline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from foveal.data.base import Dataset
from foveal.data.files import list_files, name_some, read_lines
from foveal.data.image_folder import IMAGE_SUFFIXES
from foveal.data.packed import is_packed, packed_names
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS


@DATASETS.register_module(name=["RestorationDataset", "BasicImageDataset"])
class RestorationDataset(Dataset):
    """Images in one folder or in two, paired by name; mmagic's ``BasicImageDataset`` is the same.

    A record has ``gt_img_path`` and ``img_path`` as far as ``data_prefix`` has their folders, and ``upscale``, where
    ``scale`` is given. With ``gt`` alone, the pipeline makes ``img``, for instance by ``MATLABLikeResize``.

    Args:
        ann_file: Text file with a name a line, relative to the folder of ``gt`` (else ``img``), with or without the
            extension; what follows a blank is ignored. Empty: all images of that folder and its sub-folders.
        data_prefix: ``gt``: folder of the sharp images, or a file of `foveal.data.packed`; ``img``: the same of the
            low-quality ones.
        filename_tmpl: Names without extension by role, ``{}`` for what both have in common, such as
            ``dict(img='{}x2')``. The extensions of two partners may differ.
        scale: Size of a sharp image divided by that of its partner; the packing transform checks it. None: no check.
        img_suffix: Extensions of images.
        **kwargs: Other arguments of `Dataset`.

    Raises:
        ConfigError: If there is no folder or a template has no place for the name.
        DataError: If an image has no partner.
    """

    PREFIXES = ("gt", "img")

    def __init__(
        self,
        ann_file: str = "",
        data_prefix: Mapping[str, str | None] | None = None,
        filename_tmpl: Mapping[str, str] | None = None,
        scale: int | None = None,
        img_suffix: str | Sequence[str] = IMAGE_SUFFIXES,
        **kwargs: Any,
    ) -> None:
        self.templates = {"gt": "{}", "img": "{}", **(filename_tmpl or {})}
        for role, template in self.templates.items():
            if role not in self.PREFIXES or template.count("{}") != 1:
                raise ConfigError(
                    f"{type(self).__name__}: filename_tmpl must give 'gt' or 'img' a name with one {{}}, "
                    f"got {role!r}: {template!r}"
                )
        self.scale = scale
        self.img_suffix = img_suffix
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def check_paths(self) -> None:
        """As in `Dataset`, and that there is a folder at all.

        Raises:
            ConfigError: If ``data_prefix`` has neither ``gt`` nor ``img``.
        """
        if not self.data_prefix:
            raise ConfigError(f"{type(self).__name__} needs data_prefix=dict(gt=...), dict(img=...) or both")
        super().check_paths()

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one record an image or pair, sorted by path or in the order of ``ann_file``.

        Raises:
            DataError: If an image that ``ann_file`` names, or a partner, is missing.
        """
        files = {role: self._files_by_name(role) for role in self.data_prefix}
        first = "gt" if "gt" in files else "img"
        names = self._listed_names(first) if self.ann_file else list(files[first])
        for role, found in files.items():
            self._require(role, [name for name in names if name not in found], len(names))
        extra = {} if self.scale is None else {"upscale": self.scale}
        keys = {"gt": "gt_img_path", "img": "img_path"}
        return [{**{keys[role]: found[name] for role, found in files.items()}, **extra} for name in names]

    def _files_by_name(self, role: str) -> dict[str, str]:
        """Return the paths in a folder by what the template leaves of their names."""
        folder = self.data_prefix[role]
        head, tail = self.templates[role].split("{}")
        packed = is_packed(folder)
        files = {}
        for file in packed_names(folder) if packed else list_files(folder, self.img_suffix):
            parent, stem = os.path.split(os.path.splitext(file.rpartition("::")[2])[0])
            if stem.startswith(head) and stem.endswith(tail) and len(stem) > len(head) + len(tail):
                files[os.path.join(parent, stem[len(head) : len(stem) - len(tail)])] = (
                    file if packed else os.path.join(folder, file)
                )
        return files

    def _listed_names(self, role: str) -> list[str]:
        """Return the names that ``ann_file`` lists, without folder's template and extension."""
        head, tail = self.templates[role].split("{}")
        names = []
        for line in read_lines(self.ann_file):
            file = line.split()[0]
            root, extension = os.path.splitext(file)
            parent, stem = os.path.split(root if extension.lower() in self.img_suffix else file)
            names.append(os.path.join(parent, stem.removeprefix(head).removesuffix(tail)))
        return names

    def _require(self, role: str, missing: Sequence[str], count: int) -> None:
        if missing:
            wanted = [
                os.path.join(os.path.dirname(m), self.templates[role].format(os.path.basename(m))) for m in missing
            ]
            raise DataError(
                f"{type(self).__name__}: {len(missing)} of {count} images are missing in "
                f"data_prefix[{role!r}] {self.data_prefix[role]!r}: {name_some(wanted)}"
            )
