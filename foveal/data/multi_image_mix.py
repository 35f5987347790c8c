"""A dataset whose transforms mix several samples."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from foveal.data.samplers import SampleIndex
from foveal.data.seeding import seeded
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class MultiImageMixDataset:
    """Samples of another dataset, with a pipeline whose transforms may ask for more of them; mmdet's arguments.

    A transform with ``get_indexes(dataset) -> list[int]`` finds those samples in ``mix_results``.

    Args:
        dataset: Config of the dataset, whose own pipeline loads images and annotations.
        pipeline: Configs of the transforms that follow.
        skip_type_keys: Names of transforms that are left out; may be changed while training.
        max_refetch: How many other samples to try when the pipeline returns None.
        lazy_init: Read nothing before ``full_init``.

    Raises:
        ConfigError: If ``pipeline`` has something else than configs.
    """

    def __init__(
        self,
        dataset: dict[str, Any] | BaseDataset,
        pipeline: Sequence[dict[str, Any]],
        skip_type_keys: Sequence[str] | None = None,
        max_refetch: int = 15,
        lazy_init: bool = False,
    ) -> None:
        for step in pipeline:
            if not isinstance(step, dict):
                raise ConfigError(f"MultiImageMixDataset: pipeline is a list of configs, got {step!r}")
        self.pipeline = [(step["type"].rpartition(".")[2], TRANSFORMS.build(step)) for step in pipeline]
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.skip_type_keys = list(skip_type_keys or ())
        self.max_refetch = max_refetch
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and palette of the dataset."""
        return copy.deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Read the records, once."""
        self.dataset.full_init()

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the record of a sample."""
        return self.dataset.get_data_info(idx)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> Any:
        """Return sample ``idx`` after both pipelines; its seed, where it has one, decides what is mixed in.

        Raises:
            DataError: If the pipeline returned nothing in ``max_refetch`` + 1 tries.
        """
        with seeded(idx.seed) if isinstance(idx, SampleIndex) else nullcontext():
            index = int(idx)
            for _ in range(self.max_refetch + 1):
                sample = self._mixed(index)
                if sample is not None:
                    return sample
                index = int(np.random.randint(0, len(self)))
        raise DataError(f"no usable sample in {self.max_refetch + 1} tries, the last near {index}")

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Leave these transforms out from now on, and no others.

        Args:
            skip_type_keys: Their names.
        """
        self.skip_type_keys = list(skip_type_keys)

    def _mixed(self, index: int) -> dict[str, Any] | None:
        sample = self.dataset[index]
        for name, transform in self.pipeline:
            if name in self.skip_type_keys:
                continue
            choose = getattr(transform, "get_indexes", None)
            if choose is not None:
                sample["mix_results"] = [self.dataset[i] for i in choose(self.dataset)]
            sample = transform(sample)
            if sample is None:
                return None
            sample.pop("mix_results", None)
        return sample
