"""The recurrence in PyTorch as 3 sqrt(L) vectorised steps instead of L short ones.

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


def scan_segmented(u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
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
    batch, dim, length = u.shape
    groups, states = B.shape[1:3]
    count = max(1, math.isqrt(length))
    size = max(1, -(-length // count))
    # a padded position has the step 0: it neither adds to the state nor lets it decay
    fill = count * size - length
    gain = F.pad(step * u, (0, fill)).view(batch, groups, dim // groups, 1, count, size)
    steps = F.pad(step, (0, fill)).view(batch, groups, dim // groups, 1, count, size)
    b, c = (F.pad(w, (0, fill)).reshape(batch, groups, 1, states, count, size) for w in (B, C))
    rate = A.reshape(groups, dim // groups, states, 1)

    end = u.new_zeros(batch, groups, dim // groups, states, count)
    for i in range(size):
        end = torch.exp(steps[..., i] * rate) * end + gain[..., i] * b[..., i]
    decay = torch.exp(steps.sum(-1) * rate)
    state, border = torch.zeros_like(end[..., 0]), []
    for segment in range(count):
        border.append(state)
        state = decay[..., segment] * state + end[..., segment]
    state, outputs = torch.stack(border, -1), []
    for i in range(size):
        state = torch.exp(steps[..., i] * rate) * state + gain[..., i] * b[..., i]
        outputs.append((c[..., i] * state).sum(3))
    return torch.stack(outputs, -1).view(batch, dim, count * size)[..., :length]
