"""Multiply-accumulates of a network, as the papers count them and call them FLOPs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foveal.ops.aggregated_attention import AggregatedAttention
from foveal.ops.aggregated_attention.positions import WINDOW
from foveal.ops.neighborhood_attention import NeighborhoodAttention2D

# what an attention layer spends on its projections, whichever kernel does the rest
_PROJECTIONS = ("mm", "addmm", "convolution", "linear")


def count_macs(model: nn.Module, size: int | tuple[int, int] = 224) -> int:
    """Count the multiply-accumulates of one forward pass of one image.

    Matrix products and convolutions, counted by ``torch.utils.flop_counter``, which gives a multiply-accumulate two
    FLOPs; the papers of all families here give it one. Norms, activations, Fourier transforms and other element-wise
    work are left out, as there. The attention within windows of NAT, DiNAT and TransNeXt is counted by what it needs,
    not by what a kernel does for it: of one position with K keys and C channels K * C for the scores and as many for
    the values.

    Args:
        model: Takes images [1, 3, H, W]; on the meta device nothing is computed.
        size: H and W in pixels, or one number for both.

    Returns:
        Multiply-accumulates.
    """
    height, width = (size, size) if isinstance(size, int) else size
    device = next(model.parameters()).device
    windowed: dict[str, int] = {}
    hooks = [
        module.register_forward_hook(_counts_into(windowed, f"{type(model).__name__}.{name}"))
        for name, module in model.named_modules()
        if isinstance(module, (NeighborhoodAttention2D, AggregatedAttention))
    ]
    mode = model.training
    try:
        # torch's counter does not know every release's fused attention for the CPU
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    counts = counter.get_flop_counts()
    total = counter.get_total_flops() // 2
    for name, macs in windowed.items():
        by_kernel = {op: flops for op, flops in counts[name].items() if _op_name(op) not in _PROJECTIONS}
        total += macs - sum(by_kernel.values()) // 2
    return total


def _counts_into(windowed: dict[str, int], name: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        batch, height, width, channels = inputs[0].shape
        if isinstance(module, NeighborhoodAttention2D):
            least = module.kernel_size * module.dilation
            height, width = max(height, least), max(width, least)
            each = 2 * module.kernel_size**2
        else:
            positions = inputs[1]
            # the learnt tokens are one more product with the window's keys
            each = 3 * WINDOW**2 + 2 * positions.rows.keys * positions.columns.keys
        windowed[name] = batch * height * width * channels * each

    return hook


def _op_name(op: Any) -> str:
    return str(op).rpartition(".")[2]
