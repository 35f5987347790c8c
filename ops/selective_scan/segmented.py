"""Selective scan in PyTorch as 3 sqrt(L) vectorised steps instead of L short ones.

The positions are cut into segments that run beside each other: first each from an empty state, which gives what it
adds and, by the sum of its steps, how it lets an earlier state decay; then the states at the borders are passed on from
segment to segment; then each segment runs once more from its true state. It computes what the reference computes, on
any device, without keeping the states of all positions unless gradients are wanted.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan_segmented(
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
    """Compute `selective_scan_reference`; the arguments are its."""
    wide = torch.promote_types(u.dtype, torch.float32)
    x, step = u.to(wide), delta.to(wide)
    if delta_bias is not None:
        step = step + delta_bias.to(wide).unsqueeze(1)
    if delta_softplus:
        step = F.softplus(step)
    batch, dim, length = u.shape
    groups, states = B.shape[1:3]
    count = max(1, math.isqrt(length))
    size = max(1, -(-length // count))
    # a padded position has the step 0: it neither adds to the state nor lets it decay
    fill = count * size - length
    gain = F.pad(step * x, (0, fill)).view(batch, groups, dim // groups, 1, count, size)
    steps = F.pad(step, (0, fill)).view(batch, groups, dim // groups, 1, count, size)
    b, c = (F.pad(w.to(wide), (0, fill)).view(batch, groups, 1, states, count, size) for w in (B, C))
    rate = A.to(wide).view(groups, dim // groups, states, 1)

    end = _run(steps, gain, b, rate, x.new_zeros(batch, groups, dim // groups, states, count))
    decay = torch.exp(steps.sum(-1) * rate)
    state, border = torch.zeros_like(end[..., 0]), []
    for segment in range(count):
        border.append(state)
        state = decay[..., segment] * state + end[..., segment]
    state, outputs = torch.stack(border, -1), []
    for i in range(size):
        state = torch.exp(steps[..., i] * rate) * state + gain[..., i] * b[..., i]
        outputs.append((c[..., i] * state).sum(3))
    y = torch.stack(outputs, -1).view(batch, dim, count * size)[..., :length]
    if D is not None:
        y = y + D.to(wide).unsqueeze(1) * x
    if z is not None:
        y = y * F.silu(z.to(wide))
    return y.to(u.dtype)


def _run(steps: Tensor, gain: Tensor, b: Tensor, rate: Tensor, state: Tensor) -> Tensor:
    """The state at the end of each segment."""
    for i in range(steps.shape[-1]):
        state = torch.exp(steps[..., i] * rate) * state + gain[..., i] * b[..., i]
    return state
