"""Aggregated attention beside its definition in PyTorch, at the stages of TransNeXt-Micro at 224 x 224."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from foveal.ops import aggregated_attention

# batch, height, width, heads, dim, pooled positions, kernel_size
SHAPES = ((1, 56, 56, 2, 24, 49, 3), (1, 28, 28, 4, 24, 49, 3), (1, 14, 14, 8, 24, 49, 3))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls."""
    for batch, height, width, heads, dim, pooled, size in SHAPES:

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(shape, device=device, requires_grad=True)

        q, k, v = (random(batch, height, width, heads, dim) for _ in range(3))
        pools = [random(batch, pooled, heads, dim) for _ in range(2)]
        # TransNeXt's pooled bias lies in memory with the queries last
        biases = [random(heads, size**2), random(heads, pooled, height * width)]
        inputs = [q, k, v, *pools, *biases, random(batch, height, width, heads, size**2)]

        def call(backend: str | None, inputs: list[torch.Tensor] = inputs, size: int = size) -> torch.Tensor:
            *tensors, local_bias, pool_bias, weights = inputs
            return aggregated_attention(*tensors, size, local_bias, pool_bias.transpose(1, 2), weights, backend=backend)

        def trained(backend: str | None, inputs: list[torch.Tensor] = inputs, call: Any = call) -> Any:
            return torch.autograd.grad(call(backend).sum(), inputs)

        shape = {"case": f"[{batch},{height},{width},{heads},{dim}] pooled {pooled} k{size}", "peer_name": "reference"}
        with torch.no_grad():
            yield shape | {
                "pass": "forward",
                "ours": lambda: call(None),
                "peer": lambda: call("reference"),
                "flops": 4 * q.numel() * (size**2 + pooled),
            }
        yield shape | {
            "pass": "forward+backward",
            "ours": lambda: trained(None),
            "peer": lambda: trained("reference"),
            "flops": 14 * q.numel() * (size**2 + pooled),
        }
