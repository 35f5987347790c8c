"""Training loops that can start in the middle: what a resumed run has seen is skipped in the sampler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop as MMEpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as MMIterBasedTrainLoop
from torch.utils.data import DataLoader

from foveal.data.samplers import skip_batches
from foveal.engine.random_state import restore_random_state
from foveal.errors import ConfigError
from foveal.registry import LOOPS


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEpochBasedTrainLoop):
    """mmengine's loop by epochs; after a resume it goes on with the next batch of the epoch."""

    resumed_random_state: dict[str, Any] | None = None

    def __init__(self, runner: Any, dataloader: Any, **options: Any) -> None:
        super().__init__(runner, dataloader, **options)
        _check_loader(self.dataloader)

    def run(self) -> Any:
        """Train to the last epoch; return the model."""
        if (
            self.resumed_random_state is not None
            and self._epoch > 0
            and self._iter == self._epoch * len(self.dataloader)
        ):
            self._validate_if_due()
        return super().run()

    def run_epoch(self) -> None:
        """Run the rest of one epoch; all of it, unless this is the first after a resume."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        start = self._iter - self._epoch * len(self.dataloader)
        if start:
            skip_batches(self.dataloader, start)
        batches = enumerate(self.dataloader, start)
        if self.resumed_random_state is not None:
            restore_random_state(self.resumed_random_state)
            self.resumed_random_state = None
        for index, batch in batches:
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _validate_if_due(self) -> None:
        """A run killed between its checkpoint and the validation that follows has yet to do the latter."""
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()


@LOOPS.register_module()
class IterBasedTrainLoop(MMIterBasedTrainLoop):
    """mmengine's loop by iterations; after a resume it goes on with the next batch."""

    resumed_random_state: dict[str, Any] | None = None

    def __init__(self, runner: Any, dataloader: Any, **options: Any) -> None:
        super().__init__(runner, dataloader, **options)
        _check_loader(self.dataloader)

    def run(self) -> Any:
        """Train to the last iteration; return the model."""
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self.dataloader_iterator = endless(self.dataloader, self._iter)
        if self.resumed_random_state is not None:
            restore_random_state(self.resumed_random_state)
            if self._validation_due():
                self.runner.val_loop.run()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            if self._validation_due():
                self.runner.val_loop.run()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _validation_due(self) -> bool:
        self._decide_current_val_interval()
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and due


def endless(loader: DataLoader, start: int) -> Iterator[Any]:
    """Yield batches for ever, beginning with number ``start``; a sampler that ends gets the next epoch's order."""
    epoch, offset = divmod(start, len(loader))
    infinite = "Infinite" in type(getattr(loader.batch_sampler, "sampler", loader.sampler)).__name__
    if infinite:
        offset = start
    while True:
        samplers: tuple[Any, Any] = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
        for sampler in samplers:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
        if offset:
            skip_batches(loader, offset)
            offset = 0
        yield from loader
        epoch += 1


def _check_loader(loader: DataLoader) -> None:
    dataset: Any = loader.dataset
    if len(loader) == 0:
        raise ConfigError(
            f"the training data set gives no batch: {len(dataset)} samples, batch size {loader.batch_size}, "
            f"drop_last={loader.drop_last}"
        )
    if len(dataset) < get_world_size():
        raise ConfigError(f"{get_world_size()} processes cannot share {len(dataset)} training samples: start fewer")
