"""Several losses as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from foveal.registry import MODELS


@MODELS.register_module()
class SumLoss(nn.Module):
    """The sum of losses between the same two tensors, each with its own ``loss_weight``.

    Args:
        losses: Configs, such as ``[dict(type="L1Loss"), dict(type="FFTLoss", loss_weight=0.1)]``.
    """

    def __init__(self, losses: Sequence[dict[str, Any] | nn.Module]) -> None:
        super().__init__()
        built = [loss if isinstance(loss, nn.Module) else MODELS.build(loss) for loss in losses]
        self.losses = nn.ModuleList(built)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the sum."""
        return sum((loss(pred, target) for loss in self.losses), pred.new_zeros(()))
