"""Neighbourhood attention beside keys and values gathered for every query, as one would write it in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from foveal.ops import neighborhood_attention

# batch, height, width, heads, dim, kernel_size, dilation
SHAPES = ((1, 56, 56, 2, 32, 7, 1), (1, 14, 14, 8, 32, 7, 2), (4, 28, 28, 4, 32, 7, 4))


def windows(length: int, kernel_size: int, dilation: int, device: str) -> Tensor:
    """Return the positions that each position attends to, [length, kernel_size]."""
    place = torch.arange(length, device=device)
    group, number = place % dilation, place // dilation
    count = (length - group + dilation - 1) // dilation
    start = torch.minimum((number - kernel_size // 2).clamp(min=0), count - kernel_size)
    return (start[:, None] + torch.arange(kernel_size, device=device)) * dilation + group[:, None]


def gathered(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attend, with the keys and values of every query's window side by side."""

    def unfold(x: Tensor) -> Tensor:
        x = x[:, rows[:, None, :, None], columns[None, :, None, :]]  # [N, H, W, k, k, heads, dim]
        return x.flatten(3, 4).transpose(3, 4)

    scores = torch.einsum("nyxhd,nyxhkd->nyxhk", q * q.shape[-1] ** -0.5, unfold(k))
    return torch.einsum("nyxhk,nyxhkd->nyxhd", scores.softmax(-1), unfold(v))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    for batch, height, width, heads, dim, size, dilation in SHAPES:
        q, k, v = (torch.randn(batch, height, width, heads, dim, device=device, dtype=dtype) for _ in range(3))
        rows, columns = (windows(length, size, dilation, device) for length in (height, width))
        shape = f"[{batch},{height},{width},{heads},{dim}] k{size} d{dilation}"
        flops = 4 * q.numel() * size**2
        with torch.no_grad():
            yield {
                "case": shape,
                "pass": "forward",
                "peer_name": "unfold",
                "ours": lambda: neighborhood_attention(q, k, v, size, dilation),
                "peer": lambda: gathered(q, k, v, rows, columns),
                "bytes": 4 * q.numel() * q.element_size(),
                "flops": flops,
            }
        inputs = [x.requires_grad_() for x in (q, k, v)]
        yield {
            "case": shape,
            "pass": "forward+backward",
            "peer_name": "unfold",
            "ours": lambda: torch.autograd.grad(neighborhood_attention(*inputs, size, dilation).sum(), inputs),
            "peer": lambda: torch.autograd.grad(gathered(*inputs, rows, columns).sum(), inputs),
            "bytes": 8 * q.numel() * q.element_size(),
            "flops": 3.5 * flops,
        }
