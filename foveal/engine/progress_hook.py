"""A progress bar with the time left, on a terminal; elsewhere the log's plain lines say the same."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from foveal.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show iterations done, the loss and the time left of training, validation and testing.

    Args:
        console: Where to draw; default: the process's output. Nothing is drawn where that is no terminal.
    """

    priority = "VERY_LOW"

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.bar: Progress | None = None
        self.tasks: dict[str, Any] = {}

    def before_run(self, runner: Any) -> None:
        """Start the bar and let the log print above it."""
        if not (self.console.is_terminal and is_main_process()):
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=self.console)
        self.bar.start()
        for handler in runner.logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setStream(_AboveBar(self.bar.console))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the training bar."""
        if self.bar is None:
            return  # reading the loss would wait for the device
        loss = (outputs or {}).get("loss")
        text = "train" if loss is None else f"train loss {float(loss.detach()):.3f}"
        self._advance("train", text, runner.iter + 1, runner.max_iters)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the validation bar."""
        self._advance("val", "validate", batch_idx + 1, len(runner.val_dataloader))

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance the test bar."""
        self._advance("test", "test", batch_idx + 1, len(runner.test_dataloader))

    def after_run(self, runner: Any) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()

    def _advance(self, task: str, text: str, done: int, total: int) -> None:
        if self.bar is None:
            return
        if task not in self.tasks:
            # a resumed run starts with what is done already, so that the time left is not underestimated
            self.tasks[task] = self.bar.add_task(text, total=total, completed=done - 1)
        self.bar.update(self.tasks[task], description=text, completed=done, total=total)


class _AboveBar:
    """A stream that writes lines above a running bar."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def write(self, text: str) -> None:
        if text.strip():
            self.console.print(text.rstrip("\n"), markup=False, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        pass
