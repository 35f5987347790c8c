"""Seconds an iteration and the time left, by a clock that nobody sets."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook

from foveal.registry import HOOKS


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Log ``time`` and ``data_time`` of every iteration and ``eta``, the seconds that are left (mmengine's name).

    mmengine's reads the time of day, which a summer's end or a time server sets back: it logs negative times then.
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self.last = self.spent = 0.0
        self.first_iter = 0

    def before_train(self, runner: Any) -> None:
        """Count iterations from where a resumed run begins."""
        self.first_iter, self.spent = runner.iter, 0.0

    def _before_epoch(self, runner: Any, mode: str = "train") -> None:
        self.last = time.perf_counter()

    def _before_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, mode: str = "train") -> None:
        runner.message_hub.update_scalar(f"{mode}/data_time", time.perf_counter() - self.last)

    def _after_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = "train"
    ) -> None:
        now = time.perf_counter()
        taken, self.last = now - self.last, now
        runner.message_hub.update_scalar(f"{mode}/time", taken)
        if mode == "train":
            done, left = runner.iter - self.first_iter + 1, runner.max_iters - runner.iter - 1
            self.spent += taken
            average = self.spent / done
        else:
            loader = runner.val_dataloader if mode == "val" else runner.test_dataloader
            seconds = runner.message_hub.get_scalar(f"{mode}/time").data[0][-batch_idx - 1 :]
            average, left = float(seconds.mean()), len(loader) - batch_idx - 1
        runner.message_hub.update_info("eta", average * left)
