"""What every backbone checks and does alike: its variant's numbers, the levels asked for, frozen stages, its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from foveal.errors import ConfigError, DataError
from foveal.registry import nearest

MIN_SIZE = 32

Out = TypeVar("Out")


def resolve_arch(arch: str | Mapping[str, Any], table: Mapping[str, Mapping[str, Any]], family: str) -> dict[str, Any]:
    """Return the numbers of a variant.

    Args:
        arch: A name in ``table``, or the numbers themselves.
        table: The family's variants; all have the same keys.
        family: Its name, for messages.

    Returns:
        A dict with the keys of the table's rows.

    Raises:
        ConfigError: If the name is not in the table, or the dict lacks a number or has one too many.
    """
    if isinstance(arch, str):
        if arch not in table:
            near = nearest(arch, table) or list(table)
            raise ConfigError(f"{family} has no arch {arch!r}; nearest names: {', '.join(near)}")
        return dict(table[arch])
    keys = next(iter(table.values())).keys()
    if set(arch) != set(keys):
        raise ConfigError(
            f"{family}'s arch as a dict needs the keys {', '.join(keys)}, got {', '.join(arch) or 'none'}"
        )
    return dict(arch)


def check_out_indices(out_indices: Sequence[int], stages: int, family: str) -> tuple[int, ...]:
    """Return ``out_indices`` as a tuple.

    Raises:
        ConfigError: If they are not rising numbers from 0 to ``stages`` - 1.
    """
    indices = tuple(out_indices)
    if not indices or list(indices) != sorted(set(indices)) or indices[0] < 0 or indices[-1] >= stages:
        raise ConfigError(
            f"{family} has the stages 0 to {stages - 1}; out_indices must name some, rising: got {indices}"
        )
    return indices


def check_input(x: Tensor, in_channels: int, family: str) -> None:
    """Refuse what no backbone takes.

    Args:
        x: Float [N, in_channels, H, W] with H and W of at least 32.
        in_channels: C.
        family: Its name, for messages.

    Raises:
        DataError: If ``x`` is something else.
    """
    if torch.compiler.is_compiling():  # a check of sizes would be a constraint of an exported graph
        return
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise DataError(f"{family} takes images [N, {in_channels}, H, W], got shape {list(x.shape)}")
    if min(x.shape[-2:]) < MIN_SIZE:
        raise DataError(f"{family} needs at least {MIN_SIZE} x {MIN_SIZE} pixels, got {x.shape[-2]} x {x.shape[-1]}")


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Return the blocks' rates, stage by stage, rising evenly from 0 at the first block to ``rate`` at the last."""
    total = sum(depths)
    rates = iter([rate * i / max(total - 1, 1) for i in range(total)])
    return [[next(rates) for _ in range(depth)] for depth in depths]


def round_channels(channels: float) -> int:
    """Return the nearest multiple of 8, but not less than 90 % of ``channels``, as MobileNets round."""
    nearest_multiple = max(8, int(channels + 4) // 8 * 8)
    return nearest_multiple if nearest_multiple >= 0.9 * channels else nearest_multiple + 8


def run(block: Callable[[Tensor], Out], x: Tensor, with_cp: bool) -> Out:
    """Apply ``block``; with ``with_cp``, keep no activations of it and compute them again in the backward pass."""
    if with_cp and torch.is_grad_enabled():
        return checkpoint(block, x, use_reentrant=False)
    return block(x)


def apply_train_mode(
    model: nn.Module, parts: Sequence[Sequence[nn.Module]], frozen_stages: int, norm_eval: bool, mode: bool
) -> None:
    """Do what mmdet's backbones do at the end of their ``train()``.

    Args:
        model: The backbone, already switched to ``mode``.
        parts: The modules of the stem, then of each stage.
        frozen_stages: The first ``frozen_stages`` + 1 parts get no gradient and stay in eval mode: -1 none, 0 the stem,
            1 the stem and the first stage, and so on.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        mode: True while training.

    Raises:
        ConfigError: If there are fewer stages than ``frozen_stages``.
    """
    if frozen_stages >= len(parts):
        name = type(model).__name__
        raise ConfigError(f"{name} has {len(parts) - 1} stages; frozen_stages must be -1 to that, got {frozen_stages}")
    for part in parts[: frozen_stages + 1]:
        for module in part:
            module.eval()
            module.requires_grad_(False)
    if mode and norm_eval:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
