"""Aggregated attention in PyTorch: the definition of right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def aggregated_attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    kernel_size: int,
    local_bias: Tensor | None,
    pool_bias: Tensor | None,
    local_weights: Tensor | None,
    scale: float,
) -> Tensor:
    """Compute `foveal.ops.aggregated_attention` of arguments that are right.

    Args:
        q: [N, H, W, heads, dim].
        k: [N, H, W, heads, dim].
        v: [N, H, W, heads, dim].
        k_pool: [N, P, heads, dim].
        v_pool: [N, P, heads, dim].
        kernel_size: Side of the window, which has K positions.
        local_bias: [heads, K] or None.
        pool_bias: [heads, H * W, P] or None.
        local_weights: [N, H, W, heads, K] or None.
        scale: Factor of the scores.

    Returns:
        [N, H, W, heads, dim].
    """
    height, width = q.shape[1:3]
    window = kernel_size**2
    # positions last: sums over dim and over the window then run along rows of pixels
    q = scale * q.permute(0, 3, 4, 1, 2).contiguous()  # (N, heads, dim, H, W)

    local = torch.stack([(q * key).sum(2) for key in _shifted(k, kernel_size)], 2).flatten(3)  # (N, heads, K, H * W)
    if local_bias is not None:
        local = local + local_bias.unsqueeze(2)
    local = local.masked_fill(_outside(height, width, kernel_size, q.device), float("-inf"))
    pool = k_pool.permute(0, 2, 1, 3) @ q.flatten(3)  # (N, heads, P, H * W)
    if pool_bias is not None:
        pool = pool + pool_bias.transpose(1, 2)
    local, pool = torch.cat((local, pool), 2).softmax(2).split((window, k_pool.shape[1]), 2)

    local = local.unflatten(3, (height, width))
    if local_weights is not None:
        local = local + local_weights.permute(0, 3, 4, 1, 2)
    out = (v_pool.permute(0, 2, 3, 1) @ pool).unflatten(3, (height, width))
    for weight, value in zip(local.unbind(2), _shifted(v, kernel_size), strict=True):
        out = out + weight.unsqueeze(2) * value
    return out.permute(0, 3, 4, 1, 2).to(v.dtype)


def _shifted(x: Tensor, kernel_size: int) -> list[Tensor]:
    """Views of [N, H, W, heads, dim], [N, heads, dim, H, W] each: what every position of the window lies on."""
    height, width = x.shape[1:3]
    edge = kernel_size // 2
    x = F.pad(x.permute(0, 3, 4, 1, 2), (edge, edge, edge, edge))
    return [x[..., i : i + height, j : j + width] for i in range(kernel_size) for j in range(kernel_size)]


def _outside(height: int, width: int, kernel_size: int, device: torch.device) -> Tensor:
    """Bool [K, H * W]: where the window's positions lie outside the image."""
    offsets = torch.arange(kernel_size, device=device)[:, None] - kernel_size // 2
    rows, columns = (torch.arange(length, device=device) + offsets for length in (height, width))  # (k, H), (k, W)
    out_rows, out_columns = (rows < 0) | (rows >= height), (columns < 0) | (columns >= width)
    return (out_rows[:, None, :, None] | out_columns[None, :, None, :]).reshape(kernel_size**2, height * width)
