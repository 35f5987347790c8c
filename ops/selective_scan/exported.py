"""The recurrence as torch's scan, which an exported graph holds as one node: ONNX's Scan."""

from __future__ import annotations

import torch
from torch import Tensor


def scan_exported(u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute y of h[l] = exp(step[l] A) h[l-1] + step[l] u[l] B[l], y[l] = C[l] . h[l].

    Args:
        u: [N, dim, L].
        step: [N, dim, L].
        A: [dim, S].
        B: [N, G, S, L].
        C: [N, G, S, L].

    Returns:
        [N, dim, L].
    """
    # public from torch 2.10 on only as a part of its private package
    from torch._higher_order_ops.scan import scan

    batch, dim = u.shape[:2]
    groups, states = B.shape[1:3]
    members = dim // groups
    rate = A.view(groups, members, states)

    def move(state: Tensor, now: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        steps, gain, b, c = now
        state = torch.exp(steps[..., None] * rate) * state + gain[..., None] * b[:, :, None]
        return state, (c[:, :, None] * state).sum(-1)

    rows = [x.permute(2, 0, 1).unflatten(2, (groups, members)) for x in (step, step * u)]
    weights = [x.permute(3, 0, 1, 2) for x in (B, C)]
    start = u.new_zeros(batch, groups, members, states)
    _, outputs = scan(move, start, (*rows, *weights))
    return outputs.flatten(2).permute(1, 2, 0)
