"""The moving average of weights that YOLOX and RTMDet are trained with."""

from __future__ import annotations

import math

import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.registry import MODELS


@MODELS.register_module()
class ExpMomentumEMA(ExponentialMovingAverage):
    """A moving average that follows the weights closely at first and slowly later; mmdet's class of this name.

    In update t, counted from 0, the average takes over ``(1 - momentum) * exp(-(1 + t) / gamma) + momentum`` of the
    weights.

    Args:
        model: The network to average.
        momentum: The share of the weights in the limit, in (0, 1).
        gamma: Over how many updates the share falls, > 0.
        interval: Average every so many iterations.
        device: Where the average is kept; None: beside the weights.
        update_buffers: Average the buffers as well; else they are copied.

    Raises:
        ConfigError: If ``gamma`` is not above 0.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        gamma: int = 2000,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, momentum, interval, device, update_buffers)
        if gamma <= 0:
            raise ConfigError(f"ExpMomentumEMA: gamma must be above 0, got {gamma}")
        self.gamma = gamma

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move ``averaged_param`` towards ``source_param``, in place.

        Args:
            averaged_param: Of the average, any shape.
            source_param: Of the network, the same shape.
            steps: How many updates there were before.
        """
        share = (1 - self.momentum) * math.exp(-(1 + int(steps)) / self.gamma) + self.momentum
        averaged_param.lerp_(source_param, share)
