"""The hidden states of EfficientViM's mixer beside the same in PyTorch, a softmax and a matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from foveal.ops import ssd_hidden_state

# batch, positions, channels, states: the stages of EfficientViM-M2 at 224 x 224, one image and a batch
SHAPES = tuple((batch, *stage) for batch in (1, 32) for stage in ((196, 128, 49), (49, 256, 25), (16, 512, 9)))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls."""
    for batch, length, dim, states in SHAPES:
        x, rates = torch.randn(batch, length, dim, device=device), torch.rand(states, device=device)
        # as the mixer has them: parts of one tensor
        b, _, dt = torch.randn(batch, 3 * states, length, device=device).chunk(3, 1)
        kernel = "triton" if device == "cuda" else "cpp"

        def ours() -> torch.Tensor:
            return ssd_hidden_state(x, dt, rates, b, backend=kernel)

        def peer() -> torch.Tensor:
            return ssd_hidden_state(x, dt, rates, b, backend="reference")

        shape = f"[{batch},{length},{dim}] s{states}"
        size = (2 * b.numel() + x.numel() + batch * states * dim) * x.element_size()
        with torch.no_grad():
            case = {"case": shape, "pass": "forward", "peer_name": "softmax @ x"}
            yield {**case, "ours": ours, "peer": peer, "bytes": size}
        inputs = [y.requires_grad_() for y in (x, dt, b)]
        yield {
            "case": shape,
            "pass": "forward+backward",
            "peer_name": "softmax @ x",
            "ours": lambda: torch.autograd.grad(ours().sum(), inputs),
            "peer": lambda: torch.autograd.grad(peer().sum(), inputs),
            "bytes": 3 * size,
        }
