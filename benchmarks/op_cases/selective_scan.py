"""Selective scan beside the loop over positions that mamba_ssm's reference runs where its CUDA kernel cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from foveal.ops import selective_scan
from foveal.ops.selective_scan import selective_scan_reference

# batch, channels, positions, states, groups: a block of MambaIR's light network on 24 x 24, and of its classic one
SHAPES = ((1, 288, 576, 10, 4), (1, 1440, 256, 16, 4))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls."""
    for batch, dim, length, states, groups in SHAPES:
        weights = (batch, groups, states, length)
        u, delta, b, c = (torch.randn(s, device=device) for s in ((batch, dim, length),) * 2 + (weights,) * 2)
        rates, skip = -torch.rand(dim, states, device=device), torch.rand(dim, device=device)
        shape = f"[{batch},{dim},{length}] s{states} g{groups}"

        def ours() -> torch.Tensor:
            return selective_scan(u, delta, rates, b, c, skip, delta_softplus=True)

        def peer() -> torch.Tensor:
            return selective_scan_reference(u, delta, rates, b, c, skip, None, None, True)

        with torch.no_grad():
            case = {"case": shape, "pass": "forward", "peer_name": "loop over positions"}
            yield {**case, "ours": ours, "peer": peer, "bytes": 12 * u.numel()}
        inputs = [x.requires_grad_() for x in (u, delta, b, c)]
        yield {
            "case": shape,
            "pass": "forward+backward",
            "peer_name": "loop over positions",
            "ours": lambda: torch.autograd.grad(ours().sum(), inputs),
            "peer": lambda: torch.autograd.grad(peer().sum(), inputs),
            "bytes": 24 * u.numel(),
        }
