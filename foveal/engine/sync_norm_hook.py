"""Statistics of batch normalisation that the processes of a run agree on before they validate."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _NormBase

from foveal.registry import HOOKS


@HOOKS.register_module()
class SyncNormHook(Hook):
    """Average weights and statistics of the batch normalisations over all processes; mmdet's hook of this name."""

    @torch.no_grad()
    def before_val_epoch(self, runner: Any) -> None:
        """Average them; alone there is nothing to do."""
        if get_world_size() == 1:
            return
        for module in runner.model.modules():
            if isinstance(module, _NormBase):
                for tensor in module.state_dict().values():
                    # counts of batches are whole numbers, and equal
                    if tensor.is_floating_point():
                        all_reduce(tensor, op="mean")
