"""Stop a run whose loss is no number any more, before it overwrites a good checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from foveal.errors import NonFiniteLossError
from foveal.registry import HOOKS


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Raise when a loss is NaN or infinite (mmdet's name; here every iteration by default).

    Args:
        interval: Look every so many iterations.
    """

    priority = "ABOVE_NORMAL"  # before the checkpoint hook

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the losses of the iteration.

        Raises:
            NonFiniteLossError: Naming the iteration, the losses, the images and the last good checkpoint.
        """
        if not self.every_n_train_iters(runner, self.interval) or not outputs:
            return
        losses = {k: v for k, v in outputs.items() if "loss" in k and isinstance(v, torch.Tensor)}
        if not losses or bool(torch.stack([v.detach().float().mean() for v in losses.values()]).isfinite().all()):
            return
        bad = ", ".join(f"{k} = {float(v.mean())}" for k, v in losses.items() if not bool(v.isfinite().all()))
        samples = data_batch.get("data_samples") if isinstance(data_batch, dict) else None
        images = ", ".join(str(s.get("img_path")) for s in samples or [] if s.get("img_path"))
        kept = runner.message_hub.get_info("kept_checkpoints", [])
        good = f"the last checkpoint is {runner.work_dir}/{kept[-1]}" if kept else "no checkpoint was written yet"
        raise NonFiniteLossError(
            f"iteration {runner.iter + 1}: {bad}; images {images or 'unknown'}; {good}. "
            "A lower learning rate, a longer warm-up or optim_wrapper.clip_grad usually helps"
        )
