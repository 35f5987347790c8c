"""Samples that are kept to be mixed with later ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from foveal.data.transforms.sample import copy_sample
from foveal.errors import ConfigError

Sample = dict[str, Any]


class MixCache:
    """The last samples.

    Args:
        owner: Name of the transform, for messages.
        size: How many are kept.
        least: ``size`` is at least this.
        random_pop: A random one makes room for a new one; else the oldest.

    Raises:
        ConfigError: If ``size`` is less than ``least``.
    """

    def __init__(self, owner: str, size: int, least: int, random_pop: bool) -> None:
        if size < least:
            raise ConfigError(f"{owner}: max_cached_images must be at least {least}, got {size}")
        self.size = size
        self.random_pop = random_pop
        self.samples: list[Sample] = []

    def __len__(self) -> int:
        return len(self.samples)

    def add(self, sample: Sample) -> None:
        """Keep a copy of a sample."""
        self.samples.append(copy_sample(sample))
        if len(self.samples) > self.size:
            self.samples.pop(np.random.randint(0, len(self.samples) - 1) if self.random_pop else 0)

    def draw(self) -> Sample:
        """Return one of the samples, but not the last one, which is being mixed."""
        return self.samples[np.random.randint(0, len(self.samples) - 1)]
