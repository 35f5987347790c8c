"""Stop a run whose loss is no number any more, before it overwrites a good checkpoint; or pass over the iteration."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from foveal.errors import ConfigError, NonFiniteLossError
from foveal.registry import HOOKS


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Raise when a loss is NaN or infinite (mmdet's name; here every iteration by default).

    Args:
        interval: Look every so many iterations.
        action: ``stop``; or ``skip``: leave the weights as they are, on all processes of a run where one of them has
            such a loss, log the iteration and go on. Gradients of the iterations before it that wait for the same step,
            see ``accumulative_counts``, are dropped, too. What the forward pass itself changed, such as the statistics
            of batch norms, stays changed.
        max_skips: So many iterations in a row are skipped, the next one stops the run.

    Raises:
        ConfigError: If ``action`` is another word, or skips are to be looked for at an interval.
    """

    priority = "ABOVE_NORMAL"  # before the checkpoint hook

    def __init__(self, interval: int = 1, action: str = "stop", max_skips: int = 10) -> None:
        if action not in ("stop", "skip"):
            raise ConfigError(f"CheckInvalidLossHook.action must be 'stop' or 'skip', got {action!r}")
        if action == "skip" and interval != 1:
            raise ConfigError("CheckInvalidLossHook skips at every iteration or at none: leave out interval")
        self.interval = interval
        self.action = action
        self.max_skips = max_skips
        self.skipped = 0
        self._in_a_row = 0

    def before_train(self, runner: Any) -> None:
        """With ``skip``, stand between the loss and the optimiser's step."""
        if self.action != "skip":
            return
        wrapper = runner.optim_wrapper
        update = wrapper.update_params

        def guarded(loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            finite = loss.detach().isfinite().float()
            all_reduce(finite, op="min")
            if finite:
                self._in_a_row = 0
                update(loss, *args, **kwargs)
                return
            self._in_a_row += 1
            wrapper.zero_grad()
            wrapper._inner_count += 1  # with accumulated gradients, steps stay where they are in the run
            if self._in_a_row <= self.max_skips:
                self.skipped += 1
                text = f"iteration {runner.iter + 1} skipped, its loss is not finite; so far {self.skipped}"
                runner.logger.warning(text)

        wrapper.update_params = guarded

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the losses of the iteration.

        Raises:
            NonFiniteLossError: Naming the iteration, the losses, the images and the last good checkpoint.
        """
        if not self.every_n_train_iters(runner, self.interval) or not outputs:
            return
        if self.action == "skip" and self._in_a_row <= self.max_skips:
            return
        losses = {k: v for k, v in outputs.items() if "loss" in k and isinstance(v, torch.Tensor)}
        if not losses or bool(torch.stack([v.detach().float().mean() for v in losses.values()]).isfinite().all()):
            return
        bad = ", ".join(f"{k} = {float(v.detach().mean())}" for k, v in losses.items() if not bool(v.isfinite().all()))
        samples = data_batch.get("data_samples") if isinstance(data_batch, dict) else None
        images = ", ".join(str(s.get("img_path")) for s in samples or [] if s.get("img_path"))
        kept = runner.message_hub.get_info("kept_checkpoints", [])
        good = f"the last checkpoint is {runner.work_dir}/{kept[-1]}" if kept else "no checkpoint was written yet"
        raise NonFiniteLossError(
            f"iteration {runner.iter + 1}: {bad}; images {images or 'unknown'}; {good}. "
            "A lower learning rate, a longer warm-up or optim_wrapper.clip_grad usually helps"
        )
