"""Selective scan in PyTorch, one position after the other: the definition of right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Compute `foveal.ops.selective_scan` of arguments that are right.

    Args:
        u: [N, dim, L].
        delta: [N, dim, L].
        A: [dim, S].
        B: [N, G, S, L].
        C: [N, G, S, L].
        D: [dim] or None.
        z: [N, dim, L] or None.
        delta_bias: [dim] or None.
        delta_softplus: Whether steps go through softplus.

    Returns:
        [N, dim, L].
    """
    wide = torch.promote_types(u.dtype, torch.float32)
    x, step, rate = u.to(wide), delta.to(wide), A.to(wide)
    if delta_bias is not None:
        step = step + delta_bias.to(wide).unsqueeze(1)
    if delta_softplus:
        step = F.softplus(step)
    dim = u.shape[1]
    b, c = (weight.to(wide).repeat_interleave(dim // weight.shape[1], 1) for weight in (B, C))
    state = x.new_zeros(u.shape[0], dim, A.shape[1])
    outputs = []
    for position in range(u.shape[2]):
        now = step[:, :, position, None]
        state = torch.exp(now * rate) * state + now * b[..., position] * x[:, :, position, None]
        outputs.append((c[..., position] * state).sum(2))
    y = torch.stack(outputs, 2) if outputs else torch.zeros_like(x)
    if D is not None:
        y = y + D.to(wide).unsqueeze(1) * x
    if z is not None:
        y = y * F.silu(z.to(wide))
    return y.to(u.dtype)
