"""YOLOX's warm-up: the learning rate grows with the square of time (arXiv:2107.08430)."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler
from torch.optim import Optimizer

from foveal.errors import ConfigError
from foveal.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupLR(LRSchedulerMixin, _ParamScheduler):
    """Raise the learning rate from nearly 0 to its full value, as mmdet's scheduler of this name.

    Args:
        optimizer: Whose learning rates are set.
        begin: First step.
        end: Step at which the full value is reached.
        last_step: The step before the first one that follows; -1: none was taken.
        by_epoch: Steps are epochs, not iterations.
        verbose: Print the rates.

    Raises:
        ConfigError: If there is no ``end``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        if end >= INF:
            raise ConfigError("QuadraticWarmupLR needs end, the step at which the warm-up is over")
        self.total_iters = end - begin
        super().__init__(optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose)

    @classmethod
    def build_iter_from_epoch(
        cls,
        optimizer: Optimizer,
        *,
        begin: int = 0,
        end: int = INF,
        epoch_length: int,
        by_epoch: bool = True,
        **kwargs: Any,
    ) -> QuadraticWarmupLR:
        """Return the scheduler with steps in iterations.

        Args:
            optimizer: Whose learning rates are set.
            begin: First epoch.
            end: Last epoch.
            epoch_length: Iterations of an epoch.
            by_epoch: Taken from the config.
            kwargs: As for the constructor.
        """
        return cls(optimizer, begin=begin * epoch_length, end=end * epoch_length, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        """The rates of the groups: the sum of the first odd numbers is a square."""
        steps = [base * (2 * self.last_step + 1) / self.total_iters**2 for base in self.base_values]
        if self.last_step == 0:
            return steps
        now = [group[self.param_name] for group in self.optimizer.param_groups]
        return [value + step for value, step in zip(now, steps, strict=True)]
