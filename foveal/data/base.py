"""The common parent of the datasets: paths, classes, seeded pipelines and what happens to unreadable files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log

from foveal.data.packed import is_packed
from foveal.data.palette import make_palette
from foveal.data.samplers import SampleIndex
from foveal.data.seeding import seeded
from foveal.errors import ConfigError, DataError
from foveal.registry import TRANSFORMS, nearest

ON_ERROR = ("raise", "skip")


def build_pipeline(pipeline: Sequence[dict[str, Any] | Callable[[dict], dict | None]]) -> Compose:
    """Build the transforms of a pipeline through our registry, so that unknown names and arguments are explained.

    Args:
        pipeline: Config dicts with ``type``, or callables.

    Returns:
        The transforms one after the other.

    Raises:
        ConfigError: If an entry is neither, or names something that does not exist.
    """
    return Compose([step if callable(step) else TRANSFORMS.build(step) for step in pipeline])


def select_classes(wanted: Sequence[str] | None, found: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the classes to use, in label order: ``wanted`` where given, else all that were found.

    Args:
        wanted: What the config names, a subset or a reordering of ``found``, or None.
        found: What the data have.
        source: What the data are, for the message.

    Returns:
        Class names; the position is the label.

    Raises:
        ConfigError: If ``wanted`` names a class twice, or one that the data do not have or have twice.
    """
    if wanted is None:
        return tuple(found)
    for where, names in (("metainfo['classes']", list(wanted)), (source, [name for name in found if name in wanted])):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"{where} names {', '.join(map(repr, twice))} twice")
    hints = []
    for name in wanted:
        if name not in found:
            near = nearest(str(name), found, 1)
            hints.append(f"{name!r}" + (f" (nearest: {near[0]!r})" if near else ""))
    if hints:
        raise ConfigError(
            f"metainfo['classes'] names {', '.join(hints)}, absent from {source}; "
            f"classes of the config: {', '.join(map(str, wanted))}; classes of the data: {', '.join(found)}"
        )
    return tuple(wanted)


class Dataset(BaseDataset):
    """A dataset whose samples are seeded one by one and whose bad files are named.

    When the index is a `foveal.data.samplers.SampleIndex`, the pipeline runs with Python's, NumPy's and torch's CPU
    generator seeded by ``index.seed``, so a sample does not depend on the worker that reads it. The arguments are those
    of mmengine's ``BaseDataset`` and ``on_error``.

    Args:
        ann_file: Annotation file, relative to ``data_root`` or absolute. Empty: none.
        metainfo: ``classes`` (names in label order, or a text file with one a line) and ``palette`` (RGB a class), both
            optional: classes come from the data, colours are made up.
        data_root: Folder that ``ann_file`` and ``data_prefix`` are relative to. Several: the first that exists.
        data_prefix: Folders by role; which roles there are, the subclass says.
        filter_cfg: What to leave out while training; the subclass says.
        indices: Use the first (negative: last) so many samples, or those at these positions.
        serialize_data: Keep the records as one byte array, which worker processes share instead of copying.
        pipeline: Transforms, config dicts or callables.
        test_mode: Keep every image and never replace one by another.
        lazy_init: Read nothing before ``full_init``.
        max_refetch: How many other samples to try when the pipeline returns None or, with ``on_error='skip'``, fails.
        on_error: ``'raise'``: a file that cannot be read ends the run. ``'skip'``: the sample is replaced by the next
            readable one, counted in ``unreadable_count``, and each file is warned about once. In test mode always
            ``'raise'``: a metric must not silently be that of other images.

    Raises:
        ConfigError: If an argument does not fit, or ``metainfo['classes']`` and the data disagree.
        DataError: If a folder or file is missing or not what it should be.
    """

    PREFIXES: tuple[str, ...] = ()
    """Keys that ``data_prefix`` may have; empty: any."""

    def __init__(
        self,
        ann_file: str = "",
        metainfo: Mapping[str, Any] | None = None,
        data_root: str | Sequence[str] | None = "",
        data_prefix: Mapping[str, str | None] | None = None,
        filter_cfg: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict[str, Any] | Callable[[dict], dict | None]] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        on_error: str = "raise",
    ) -> None:
        if on_error not in ON_ERROR:
            raise ConfigError(f"on_error must be one of {', '.join(map(repr, ON_ERROR))}, got {on_error!r}")
        self.on_error = on_error
        self._unreadable: torch.Tensor | None = None
        super().__init__(
            ann_file=ann_file or "",
            metainfo=self._checked_metainfo(metainfo),
            data_root=self._first_folder(data_root),
            data_prefix=self._checked_prefix(data_prefix),
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        self.pipeline = build_pipeline(pipeline)
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Check the paths and read the records, once.

        Raises:
            ConfigError: If classes or ``indices`` do not fit the data.
            DataError: If a folder or file is missing or wrong, or no sample is left.
        """
        if self._fully_initialized:  # type: ignore[has-type]
            return
        self.check_paths()
        self.data_list = self.load_data_list()
        found = len(self.data_list)
        self.data_list = self.filter_data()
        if not self.data_list:
            left_out = f": filter_cfg={self.filter_cfg} leaves out all {found}" if found else ""
            raise DataError(f"{type(self).__name__} has no sample in {self.source}{left_out}")
        if self._indices is not None:
            try:
                self.data_list = self._get_unserialized_subset(self._indices)
            except IndexError:
                raise ConfigError(f"indices reach beyond the {len(self.data_list)} samples of {self.source}") from None
        if self.on_error == "skip":
            # shared with the worker processes: all of them count in one place and warn once
            self._unreadable = torch.zeros(len(self.data_list), dtype=torch.bool).share_memory_()
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    @property
    def source(self) -> str:
        """Where the records come from, for messages: the annotation file or the folders."""
        return self.ann_file or ", ".join(filter(None, self.data_prefix.values())) or self.data_root

    @property
    def unreadable_count(self) -> int:
        """How many samples could not be read so far, in any worker (``on_error='skip'``)."""
        return 0 if self._unreadable is None else int(self._unreadable.sum())

    def check_paths(self) -> None:
        """Check that the data root, the annotation file and the folders exist.

        Raises:
            DataError: If one does not; the message has the config key and the path.
        """
        name = type(self).__name__
        if self.data_root and not os.path.isdir(self.data_root):
            raise DataError(f"{name}: data_root {self.data_root!r} is not a folder")
        if self.ann_file and not os.path.isfile(self.ann_file):
            raise DataError(f"{name}: ann_file {self.ann_file!r} does not exist")
        for key, folder in self.data_prefix.items():
            # a file of packed images is named when it is opened
            if folder and not os.path.isdir(folder) and not is_packed(folder):
                raise DataError(f"{name}: data_prefix[{key!r}] {folder!r} is not a folder")

    def set_classes(self, found: Sequence[str]) -> tuple[str, ...]:
        """Settle the classes, from the config where it names them, else from the data, and their colours.

        Args:
            found: Class names that the data have.

        Returns:
            The classes in label order, now also ``metainfo['classes']``.

        Raises:
            ConfigError: If the config and the data disagree, or the palette has another length.
        """
        classes = select_classes(self._metainfo.get("classes"), found, self.source)
        palette = self._metainfo.get("palette") or make_palette(len(classes))
        if len(palette) != len(classes):
            raise ConfigError(f"metainfo['palette'] has {len(palette)} colours for {len(classes)} classes")
        self._metainfo.update(classes=classes, palette=[list(map(int, colour)) for colour in palette])
        return classes

    def log_dropped(self, counts: Mapping[str, int]) -> None:
        """Log what was left out while reading.

        Args:
            counts: Number by reason; zeros are not mentioned.
        """
        parts = [f"{count} {reason}" for reason, count in counts.items() if count]
        if parts:
            print_log(f"{type(self).__name__}: {self.source}: left out {', '.join(parts)}", logger="current")

    def __getitem__(self, idx: int) -> Any:
        """Return sample ``idx`` after the pipeline; see the class for seeding and unreadable files."""
        if not self._fully_initialized:
            self.full_init()
        with seeded(idx.seed) if isinstance(idx, SampleIndex) else nullcontext():
            return self._readable_sample(int(idx))

    def _readable_sample(self, index: int) -> Any:
        for _ in range(self.max_refetch + 1):
            try:
                sample = self.prepare_data(index)
            except DataError as error:
                if self._unreadable is None or self.test_mode:
                    raise
                self._mark_unreadable(self._unreadable, index, error)
                index = (index + 1) % len(self)
                continue
            if sample is not None:
                return sample
            if self.test_mode:
                raise DataError(f"the pipeline returned nothing for sample {index} of {self.source} in test mode")
            index = self._rand_another()
        raise DataError(f"no usable sample in {self.max_refetch + 1} tries, the last at {index} of {self.source}")

    def _mark_unreadable(self, marks: torch.Tensor, index: int, error: DataError) -> None:
        if marks[index]:
            return
        marks[index] = True
        print_log(
            f"{error}; the next readable sample takes its place ({self.unreadable_count} of {len(self)} unreadable)",
            logger="current",
            level=logging.WARNING,
        )

    @classmethod
    def _first_folder(cls, data_root: str | Sequence[str] | None) -> str:
        if data_root is None or isinstance(data_root, str):
            return data_root or ""
        found = next((folder for folder in data_root if os.path.isdir(folder)), None)
        if found is None:
            raise DataError(f"{cls.__name__}: none of data_root {', '.join(map(repr, data_root))} is a folder")
        return found

    @staticmethod
    def _checked_metainfo(metainfo: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        classes = (metainfo or {}).get("classes")
        if isinstance(classes, str) and not os.path.isfile(classes):
            raise ConfigError(
                f"metainfo['classes'] is the text {classes!r}: neither a file nor a list of names "
                "(a tuple of one name needs a comma)"
            )
        return metainfo

    def _checked_prefix(self, data_prefix: Mapping[str, str | None] | None) -> dict[str, str]:
        prefix = {key: folder for key, folder in (data_prefix or {}).items() if folder is not None}
        wrong = sorted(set(prefix) - set(self.PREFIXES)) if self.PREFIXES else []
        if wrong:
            known = ", ".join(map(repr, self.PREFIXES))
            raise ConfigError(f"{type(self).__name__}: data_prefix has no key {wrong[0]!r}; it accepts {known}")
        return prefix
