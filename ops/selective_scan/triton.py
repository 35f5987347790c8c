"""Selective scan by Triton: a program runs some channels of one image and group through all positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

# channels of a program; the states of each are beside it
BLOCK = 16


@triton.jit
def _forward(
    u: tl.tensor,
    t: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    y: tl.tensor,
    history: tl.tensor,
    dim: tl.tensor,
    length: tl.tensor,
    per_group: tl.tensor,
    states: tl.tensor,
    KEEP: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
) -> None:
    group, image = tl.program_id(1), tl.program_id(2)
    groups = tl.num_programs(1)
    local = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    d, s = group * per_group + local, tl.arange(0, STATES)
    own, seen = local < per_group, s < states
    both = own[:, None] & seen[None, :]
    rates = tl.load(a + d[:, None] * states + s[None, :], both, 0.0)
    row = (image * dim + d).to(tl.int64) * length
    weights = (image * groups + group).to(tl.int64) * states * length + s * length
    h = tl.zeros((CHANNELS, STATES), rates.dtype)
    for position in range(length):
        now = tl.load(t + row + position, own, 0.0)
        x = tl.load(u + row + position, own, 0.0)
        read_in = tl.load(b + weights + position, seen, 0.0)
        h = tl.exp(now[:, None] * rates) * h + (now * x)[:, None] * read_in[None, :]
        if KEEP:
            place = ((image * dim + d).to(tl.int64) * length + position) * states
            tl.store(history + place[:, None] + s[None, :], h, both)
        else:
            out = tl.load(c + weights + position, seen, 0.0)
            tl.store(y + row + position, tl.sum(h * out[None, :], 1), own)


@triton.jit
def _backward(
    d_y: tl.tensor,
    u: tl.tensor,
    t: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    history: tl.tensor,
    d_u: tl.tensor,
    d_t: tl.tensor,
    d_a: tl.tensor,
    d_b: tl.tensor,
    d_c: tl.tensor,
    dim: tl.tensor,
    length: tl.tensor,
    per_group: tl.tensor,
    states: tl.tensor,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
) -> None:
    group, image = tl.program_id(1), tl.program_id(2)
    groups = tl.num_programs(1)
    local = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    d, s = group * per_group + local, tl.arange(0, STATES)
    own, seen = local < per_group, s < states
    both = own[:, None] & seen[None, :]
    rates = tl.load(a + d[:, None] * states + s[None, :], both, 0.0)
    row = (image * dim + d).to(tl.int64) * length
    weights = (image * groups + group).to(tl.int64) * states * length + s * length
    slope = tl.zeros((CHANNELS, STATES), rates.dtype)
    d_rates = tl.zeros((CHANNELS, STATES), rates.dtype)
    for number in range(length):
        position = length - 1 - number
        now = tl.load(t + row + position, own, 0.0)
        x = tl.load(u + row + position, own, 0.0)
        out = tl.load(d_y + row + position, own, 0.0)
        read_in = tl.load(b + weights + position, seen, 0.0)
        read_out = tl.load(c + weights + position, seen, 0.0)
        place = (row + position) * states
        h = tl.load(history + place[:, None] + s[None, :], both, 0.0)
        before = tl.load(history + place[:, None] - states + s[None, :], both & (position > 0), 0.0)
        slope += out[:, None] * read_out[None, :]
        decay = tl.exp(now[:, None] * rates)
        tl.atomic_add(d_c + weights + position, tl.sum(out[:, None] * h, 0), seen)
        tl.atomic_add(d_b + weights + position, tl.sum(slope * (now * x)[:, None], 0), seen)
        gain = tl.sum(slope * read_in[None, :], 1)
        kept = slope * decay * before
        tl.store(d_u + row + position, gain * now, own)
        tl.store(d_t + row + position, gain * x + tl.sum(kept * rates, 1), own)
        d_rates += kept * now[:, None]
        slope = slope * decay
    tl.store(d_a + (image * dim + d)[:, None] * states + s[None, :], d_rates, both)


def forward(tensors: Sequence[Tensor], out: Tensor) -> None:
    """Write y into ``out``; ``tensors`` are u, step, A, B and C, all contiguous."""
    u, step, rates, read_in, read_out = tensors
    grid, numbers, sizes = _launch(u, read_in)
    _forward[grid](u, step, rates, read_in, read_out, out, out, *numbers, KEEP=False, **sizes)


def backward(grad: Tensor, tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    """Write the gradients of u, step, A [N, dim, S], B and C, the last two of which begin as zeros.

    The states of all positions are kept meanwhile.
    """
    u, step, rates, read_in, read_out = tensors
    grid, numbers, sizes = _launch(u, read_in)
    history = torch.empty(*u.shape, rates.shape[1], dtype=u.dtype, device=u.device)
    _forward[grid](u, step, rates, read_in, read_out, history, history, *numbers, KEEP=True, **sizes)
    _backward[grid](grad, u, step, rates, read_in, read_out, history, *grads, *numbers, **sizes)


def _launch(u: Tensor, B: Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int, int], dict[str, int]]:
    """Grid, sizes and block of a launch."""
    batch, dim, length = u.shape
    groups, states = B.shape[1:3]
    per_group = dim // groups
    grid = (triton.cdiv(per_group, BLOCK), groups, batch)
    return grid, (dim, length, per_group, states), {"CHANNELS": BLOCK, "STATES": triton.next_power_of_2(states)}
