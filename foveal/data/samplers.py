"""Which sample comes when. A sampler can start in the middle, so a run resumes without reading what it has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import BatchSampler, Sampler

from foveal.registry import DATA_SAMPLERS


class SampleIndex(int):
    """A sample's index that carries the seed for its random transforms.

    The seed depends on the run's seed, the epoch and the position in it, not on the worker that reads the sample:
    results are the same with any number of workers, and after a resume.
    """

    seed: int

    def __new__(cls, index: int, seed: int = 0) -> SampleIndex:  # noqa: D102 - the class says it
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    # mmengine's RepeatDataset and ConcatDataset compute the inner data set's index with these
    def __mod__(self, other: int) -> SampleIndex:
        return SampleIndex(int(self) % other, self.seed)

    def __sub__(self, other: int) -> SampleIndex:
        return SampleIndex(int(self) - other, self.seed)


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """Return the seed in [0, 2**32) of the sample at ``position`` of ``epoch`` in a run with ``seed``."""
    return int(np.random.SeedSequence((seed, epoch, position)).generate_state(1)[0])


@DATA_SAMPLERS.register_module()
class DefaultSampler(Sampler[int]):
    """All samples once an epoch, divided over the processes (mmengine's name and arguments).

    Args:
        dataset: Anything with a length.
        shuffle: A new order each epoch.
        seed: Of the order and of the samples' transforms. None: drawn once and shared by all processes.
        round_up: Repeat some samples so that every process gets equally many; False for evaluation, where a repeated
            sample would count twice.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.epoch = 0
        self._skipped = 0

    @property
    def total_size(self) -> int:
        """Samples an epoch over all processes, repeated ones included."""
        size = len(self.dataset)
        return -(-size // self.world_size) * self.world_size if self.round_up else size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def skip(self, count: int) -> None:
        """Leave out the first ``count`` samples of this process in the next iteration, and only in that one."""
        self._skipped = count

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        order = np.arange(size)
        if self.shuffle:
            generator = torch.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = torch.randperm(size, generator=generator).numpy()
        start, self._skipped = self._skipped, 0
        for position in range(self.rank + start * self.world_size, self.total_size, self.world_size):
            index = int(order[position % size])
            yield SampleIndex(index, sample_seed(self.seed, self.epoch, position))

    def __len__(self) -> int:
        return -(-(self.total_size - self.rank) // self.world_size)


@DATA_SAMPLERS.register_module()
class InfiniteSampler(Sampler[int]):
    """Samples without end, epoch after epoch, for training by iterations (mmengine's name and arguments).

    Args:
        dataset: Anything with a length.
        shuffle: A new order each time round.
        seed: As in `DefaultSampler`.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self._skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the order goes on across epochs."""

    def skip(self, count: int) -> None:
        """Leave out the first ``count`` samples of this process in the next iteration, and only in that one."""
        self._skipped = count

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        start, self._skipped = self._skipped, 0
        position = self.rank + start * self.world_size
        order, order_epoch = np.arange(size), -1
        while True:
            epoch, offset = divmod(position, size)
            if self.shuffle and epoch != order_epoch:
                generator = torch.Generator()
                generator.manual_seed(self.seed + epoch)
                order, order_epoch = torch.randperm(size, generator=generator).numpy(), epoch
            yield SampleIndex(int(order[offset]), sample_seed(self.seed, epoch, offset))
            position += self.world_size

    def __len__(self) -> int:
        return len(self.dataset)


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler(BatchSampler):
    """Batches of only wide or only tall images, so that little is padded (mmdet's name and arguments).

    Args:
        sampler: Gives indices; its ``dataset`` has ``get_data_info(index)`` with ``width`` and ``height`` in pixels.
        batch_size: Images a batch.
        drop_last: Leave out the last batches that are not full.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.dataset: Any = getattr(sampler, "dataset")  # noqa: B009 - torch's Sampler does not declare it
        self._skipped = 0

    def skip(self, count: int) -> None:
        """Leave out the first ``count`` batches of the next iteration, and only of that one."""
        self._skipped = count

    def __iter__(self) -> Iterator[list[int]]:
        start, self._skipped = self._skipped, 0
        for number, batch in enumerate(self._batches()):
            if number >= start:
                yield batch

    def _batches(self) -> Iterator[list[int]]:
        wide: list[int] = []
        tall: list[int] = []
        for index in self.sampler:
            info = self.dataset.get_data_info(index)
            group = wide if info["width"] >= info["height"] else tall
            group.append(index)
            if len(group) == self.batch_size:
                yield list(group)
                group.clear()
        rest = wide + tall
        while rest and (len(rest) >= self.batch_size or not self.drop_last):
            yield rest[: self.batch_size]
            rest = rest[self.batch_size :]


def skip_batches(loader: torch.utils.data.DataLoader, count: int) -> None:
    """Make the next iteration over ``loader`` leave out its first ``count`` batches without reading them.

    Args:
        loader: Its batch sampler, or its sampler, has ``skip``.
        count: Batches.

    Raises:
        TypeError: If neither has ``skip``.
    """
    batches: Any = loader.batch_sampler
    samples: Any = loader.sampler
    if hasattr(batches, "skip"):
        batches.skip(count)
    elif hasattr(samples, "skip"):
        samples.skip(count * (loader.batch_size or 1))
    else:
        raise TypeError(f"{type(samples).__name__} cannot start in the middle: it has no skip(count)")
