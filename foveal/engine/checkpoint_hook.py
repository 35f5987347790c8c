"""When a checkpoint is written, which are kept, and which is the best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook

from foveal.engine.checkpoint import replacing
from foveal.errors import ConfigError
from foveal.registry import HOOKS, nearest

_LESS_IS_BETTER = ("loss", "mae", "mse", "rmse", "absrel", "niqe", "lpips")


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save periodically, keep the best; mmengine's name and the arguments of its that mmdet's configs use.

    ``last_checkpoint`` in the run's folder always names a whole file: the checkpoint is renamed into place first, the
    pointer second, and older files are removed last.

    Args:
        interval: Every so many epochs or iterations; -1: never, except as ``save_last`` says.
        by_epoch: Count epochs, else iterations.
        save_optimizer: Keep what a resume needs of the optimiser.
        save_param_scheduler: The same for the schedulers.
        out_dir: Folder; default: the run's.
        max_keep_ckpts: Periodic checkpoints that are kept, the newest; -1: all.
        save_last: Save at the end whatever ``interval`` says.
        save_best: Key of the validation result by which the best model is kept; ``auto``: the first key.
        rule: ``greater`` or ``less`` is better; default: less for losses and errors, else greater.
        save_begin: Not before this epoch or iteration.
        filename_tmpl: Name with ``{}`` for the number; default ``epoch_{}.pth`` or ``iter_{}.pth``.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        save_begin: int = 0,
        filename_tmpl: str | None = None,
    ) -> None:
        if rule not in (None, "greater", "less"):
            raise ConfigError(f"CheckpointHook: rule must be 'greater' or 'less', got {rule!r}")
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.save_param_scheduler = save_param_scheduler
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_best = save_best
        self.rule = rule
        self.save_begin = save_begin
        self.filename_tmpl = filename_tmpl or ("epoch_{}.pth" if by_epoch else "iter_{}.pth")

    def before_train(self, runner: Any) -> None:
        """Settle the folder."""
        self.folder = Path(self.out_dir or runner.work_dir)

    def after_train_epoch(self, runner: Any) -> None:
        """Save at the end of an epoch when it is due."""
        if self.by_epoch:
            self._save_if_due(runner, runner.epoch + 1, runner.max_epochs)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save after an iteration when it is due."""
        if not self.by_epoch:
            self._save_if_due(runner, runner.iter + 1, runner.max_iters)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the model if the validation result is the best so far."""
        if self.save_best is None or not metrics:
            return
        key = next(iter(metrics)) if self.save_best == "auto" else self.save_best
        if key not in metrics:
            near = nearest(key, metrics) or sorted(metrics)
            raise ConfigError(f"CheckpointHook: save_best={key!r} is no validation result; nearest: {', '.join(near)}")
        score = float(metrics[key])
        less = self.rule == "less" or (self.rule is None and any(word in key.lower() for word in _LESS_IS_BETTER))
        best = runner.message_hub.get_info("best_score", None)
        if not math.isfinite(score) or (best is not None and (score >= best if less else score <= best)):
            return
        self._save_best(runner, key, score)

    def _save_if_due(self, runner: Any, number: int, last: int) -> None:
        due = self.interval > 0 and number % self.interval == 0 and number >= self.save_begin
        if not (due or (self.save_last and number == last)):
            return
        name = self.filename_tmpl.format(number)
        kept = [n for n in runner.message_hub.get_info("kept_checkpoints", []) if n != name] + [name]
        surplus = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        runner.message_hub.update_info("kept_checkpoints", kept[len(surplus) :])
        self._save(runner, name, self.by_epoch)
        self._point_to(name)
        for old in surplus:
            self._remove(old)

    def _save_best(self, runner: Any, key: str, score: float) -> None:
        by_epoch = type(runner.train_loop).__name__.startswith("Epoch")
        number = runner.epoch if by_epoch else runner.iter
        name = f"best_{key.replace('/', '_')}_{'epoch' if by_epoch else 'iter'}_{number}.pth"
        former = runner.message_hub.get_info("best_ckpt", None)
        runner.message_hub.update_info("best_score", score)
        runner.message_hub.update_info("best_ckpt", name)
        # the loop's counters already stand after the epoch here
        self._save(runner, name, by_epoch, meta={"epoch": runner.epoch, "iter": runner.iter, "best": {key: score}})
        if former and former != name:
            self._remove(former)
        runner.logger.info(f"best {key} so far: {score:.4f}, kept as {name}")

    def _save(self, runner: Any, name: str, by_epoch: bool, meta: dict[str, Any] | None = None) -> None:
        runner.save_checkpoint(
            str(self.folder),
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=by_epoch,
        )

    @master_only
    def _point_to(self, name: str) -> None:
        with replacing(self.folder / "last_checkpoint") as temporary:
            Path(temporary).write_text(str((self.folder / name).resolve()))

    def _remove(self, name: str) -> None:
        if is_main_process():
            (self.folder / name).unlink(missing_ok=True)
