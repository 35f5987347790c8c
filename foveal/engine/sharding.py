"""FSDP2: every process keeps a part of each weight, gradient and state of the optimiser, and borrows the rest a while.

torch.distributed.fsdp.fully_shard. Checkpoints are the same as those of any other run: whole tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from foveal.errors import ConfigError
from foveal.registry import nearest


def shard(model: nn.Module, blocks: Sequence[str]) -> None:
    """Share a model's weights among the processes.

    Args:
        model: On this process's device, with the same weights on all.
        blocks: Classes of modules that are gathered, computed and let go one at a time, such as a backbone's blocks;
            they must be called, not only their parts. What is in none of them is kept gathered through a step.

    Raises:
        ConfigError: If a class is not in the model.
    """
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    kinds = {type(module).__name__ for module in model.modules()}
    for name in blocks:
        if name not in kinds:
            near = ", ".join(nearest(name, kinds, 5)) or ", ".join(sorted(kinds))
            raise ConfigError(f"model_wrapper_cfg.blocks: the model has no {name}; it has {near}")
    # a scalar has no parts: every process keeps it, and its gradient is averaged when it is there
    scalars = {param for param in model.parameters() if param.dim() == 0}
    for param in scalars:
        param.register_post_accumulate_grad_hook(_average)
    for module in model.modules():
        if type(module).__name__ in blocks:
            fully_shard(module, mesh=mesh, ignored_params=scalars)
    fully_shard(model, mesh=mesh, ignored_params=scalars)


def _average(param: Tensor) -> None:
    if param.grad is not None:
        distributed.all_reduce(param.grad.div_(distributed.get_world_size()))


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was called on it."""
    return isinstance(model, FSDPModule)


def whole(value: Any) -> Any:
    """Return nested dicts and lists with whole tensors on the CPU; every process must call it."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(inner) for inner in value)
    return value


def parts_of_state(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return whole tensors of a model as this process's parts; what does not fit stays, to be complained of."""
    own = model.state_dict()
    return {key: _part(value, own.get(key)) for key, value in state.items()}


def parts_of_optimizer(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimiser with whole tensors as this process's parts."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    of = dict(zip(numbers, params, strict=False))
    parts = {
        number: {key: _part(value, of.get(number)) for key, value in entry.items()}
        for number, entry in state["state"].items()
    }
    return {**state, "state": parts}


def _part(value: Any, like: Any) -> Any:
    fits = isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements) if fits else value
