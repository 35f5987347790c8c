"""A step takes gradients of ``optim_wrapper.accumulative_counts`` iterations: a checkpoint holds those that wait."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from foveal.engine.sharding import is_sharded, parts_of_state


def waiting_gradients(model: nn.Module, optim_wrapper: Any) -> dict[str, Tensor]:
    """Return the gradients gathered since the last step; every process of a run must call it.

    Args:
        model: Not wrapped.
        optim_wrapper: The ``mmengine.optim.OptimWrapper`` that steps it.

    Returns:
        By name of the parameter, the mean over the processes, which is what their last backward pass will make of
        them; parts of it where weights are shared. Empty where the last iteration made a step, and
        for an ``OptimWrapperDict``, whose steps are the model's own affair.
    """
    if isinstance(optim_wrapper, OptimWrapperDict) or optim_wrapper.should_update():
        return {}
    if is_sharded(model) or get_world_size() == 1:
        return {name: param.grad for name, param in model.named_parameters() if param.grad is not None}
    # the processes have not yet exchanged them, and may have used other parts of the model
    params = {name: param for name, param in model.named_parameters() if param.requires_grad}
    device = next(iter(params.values())).device
    used = torch.tensor([param.grad is not None for param in params.values()], dtype=torch.int32, device=device)
    all_reduce(used)
    gathered = {}
    for (name, param), count in zip(params.items(), used.tolist(), strict=True):
        if count:
            gathered[name] = torch.zeros_like(param) if param.grad is None else param.grad.clone()
            all_reduce(gathered[name], op="mean")
    return gathered


def restore_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Give a model the gradients that `waiting_gradients` returned, whole ones.

    Args:
        model: Not wrapped.
        gradients: By name of the parameter, on any device.
    """
    own = dict(model.named_parameters())
    parts = parts_of_state(gradients, model) if is_sharded(model) else gradients
    for name, gradient in parts.items():
        own[name].grad = gradient.to(own[name].device)
