"""One prediction for each true object, at the least total cost (DETR, arXiv:2005.12872)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from foveal.errors import ConfigError
from foveal.registry import TASK_UTILS

Problem = tuple[InstanceData, InstanceData, Mapping[str, Any]]
Match = tuple[Tensor, Tensor]

# a cost that is not a number or infinite must not stop the matching: the loss, which is no number either, is reported
_NEVER = 1e9


@TASK_UTILS.register_module()
class HungarianAssigner:
    """Solve the assignment problem of many images and decoder layers with one copy to the CPU and one back.

    Args:
        match_costs: Config of a cost, or of several that are added up.

    Raises:
        ConfigError: If there is none.
    """

    def __init__(self, match_costs: dict[str, Any] | Sequence[dict[str, Any]]) -> None:
        several = [match_costs] if isinstance(match_costs, dict) else match_costs
        if not several:
            raise ConfigError("HungarianAssigner.match_costs must name at least one cost")
        self.match_costs = [TASK_UTILS.build(cost) for cost in several]

    @torch.no_grad()
    def assign(self, problems: Sequence[Problem]) -> list[Match]:
        """Match predictions with true objects.

        Args:
            problems: For each an image's predictions (P of them; which fields, the costs say), true objects (G) and
                metainfo with ``img_shape``.

        Returns:
            For each problem the matched predictions, in rising order, and their objects: int64 [min(P, G)].
        """
        costs = [sum(cost(*problem) for cost in self.match_costs) for problem in problems]
        device = costs[0].device
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
        flat = flat.nan_to_num(_NEVER, _NEVER, -_NEVER)
        pairs, start = [], 0
        for cost in costs:
            matrix = flat[start : start + cost.numel()].view(cost.shape)
            start += cost.numel()
            pairs.append(torch.from_numpy(np.stack(linear_sum_assignment(matrix.numpy()))).long())
        matches = torch.cat(pairs, dim=1).to(device, non_blocking=True)
        return [(both[0], both[1]) for both in matches.split([pair.shape[1] for pair in pairs], dim=1)]
