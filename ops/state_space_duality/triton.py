"""Triton kernels of state-space duality: the weights of a block of states are made where they are multiplied.

A program of the forward pass goes over the positions with a running softmax. The backward pass goes over blocks of
states and positions for what belongs to a weight, over blocks of positions and channels for x's gradient.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

STATES = 16  # of a block
POSITIONS = 32
CHANNELS = 64


@triton.jit
def _forward(
    x: tl.tensor, dt: tl.tensor, b: tl.tensor, h: tl.tensor,
    states: tl.tensor, length: tl.tensor, dim: tl.tensor,
    S: tl.constexpr, L: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n = tl.program_id(2).to(tl.int64)
    s = (tl.program_id(1) * S + tl.arange(0, S))[:, None]
    d = (tl.program_id(0) * D + tl.arange(0, D))[None, :]
    most = tl.full((S,), -1e30, tl.float32)
    total = tl.zeros((S,), tl.float32)
    sums = tl.zeros((S, D), tl.float32)
    for first in range(0, length, L):
        at = first + tl.arange(0, L)
        row = (n * states + s) * length + at[None, :]
        inside = (s < states) & (at[None, :] < length)
        step = tl.load(dt + row, inside, -float("inf")).to(tl.float32)
        higher = tl.maximum(most, tl.max(step, 1))
        p, fade = tl.exp(step - higher[:, None]), tl.exp(most - higher)
        value = tl.load(x + (n * length + at[:, None]) * dim + d, (at[:, None] < length) & (d < dim), 0.0)
        weight = (p * tl.load(b + row, inside, 0.0).to(tl.float32)).to(value.dtype)
        sums = sums * fade[:, None] + tl.dot(weight, value, input_precision="ieee")
        total = total * fade + tl.sum(p, 1)
        most = higher
    total = tl.where(tl.reshape(s, (S,)) < states, total, 1.0)
    result = (sums / total[:, None]).to(h.dtype.element_ty)
    tl.store(h + (n * states + s) * dim + d, result, (s < states) & (d < dim))


@triton.jit
def _weights(
    grad: tl.tensor, x: tl.tensor, dt: tl.tensor, b: tl.tensor, lse: tl.tensor, mean: tl.tensor,
    d_dt: tl.tensor, d_b: tl.tensor,
    states: tl.tensor, length: tl.tensor, dim: tl.tensor,
    S: tl.constexpr, L: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n = tl.program_id(2).to(tl.int64)
    s = (tl.program_id(1) * S + tl.arange(0, S))[:, None]
    at = tl.program_id(0) * L + tl.arange(0, L)
    flow = tl.zeros((S, L), tl.float32)
    for first in range(0, dim, D):
        d = (first + tl.arange(0, D))[None, :]
        slope = tl.load(grad + (n * states + s) * dim + d, (s < states) & (d < dim), 0.0)
        value = tl.load(x + (n * length + at[:, None]) * dim + d, (at[:, None] < length) & (d < dim), 0.0)
        flow += tl.dot(slope, tl.trans(value), input_precision="ieee")
    row = (n * states + s) * length + at[None, :]
    inside = (s < states) & (at[None, :] < length)
    step = tl.load(dt + row, inside, -float("inf")).to(tl.float32)
    p = tl.exp(step - tl.load(lse + n * states + s, s < states, 0.0))
    read = tl.load(b + row, inside, 0.0).to(tl.float32)
    own = p * (flow * read - tl.load(mean + n * states + s, s < states, 0.0))
    tl.store(d_dt + row, own.to(d_dt.dtype.element_ty), inside)
    tl.store(d_b + row, (p * flow).to(d_b.dtype.element_ty), inside)


@triton.jit
def _inputs(
    grad: tl.tensor, dt: tl.tensor, b: tl.tensor, lse: tl.tensor, d_x: tl.tensor,
    states: tl.tensor, length: tl.tensor, dim: tl.tensor,
    S: tl.constexpr, L: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n = tl.program_id(2).to(tl.int64)
    at = tl.program_id(1) * L + tl.arange(0, L)
    d = (tl.program_id(0) * D + tl.arange(0, D))[None, :]
    sums = tl.zeros((L, D), tl.float32)
    for first in range(0, states, S):
        s = (first + tl.arange(0, S))[:, None]
        row = (n * states + s) * length + at[None, :]
        inside = (s < states) & (at[None, :] < length)
        step = tl.load(dt + row, inside, -float("inf")).to(tl.float32)
        p = tl.exp(step - tl.load(lse + n * states + s, s < states, 0.0))
        slope = tl.load(grad + (n * states + s) * dim + d, (s < states) & (d < dim), 0.0)
        weight = (p * tl.load(b + row, inside, 0.0).to(tl.float32)).to(slope.dtype)
        sums += tl.dot(tl.trans(weight), slope, input_precision="ieee")
    to = d_x + (n * length + at[:, None]) * dim + d
    tl.store(to, sums.to(d_x.dtype.element_ty), (at[:, None] < length) & (d < dim))


def forward(x: Tensor, dt: Tensor, b: Tensor) -> Tensor:
    """Return the hidden states [N, S, dim] of contiguous tensors."""
    batch, states, length = dt.shape
    dim = x.shape[2]
    h = x.new_empty(batch, states, dim)
    grid = (triton.cdiv(dim, CHANNELS), triton.cdiv(states, STATES), batch)
    _forward[grid](x, dt, b, h, states, length, dim, S=STATES, L=POSITIONS, D=CHANNELS)
    return h


def backward(grad: Tensor, h: Tensor, x: Tensor, dt: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, dt and B; all tensors are contiguous, ``h`` is the result."""
    batch, states, length = dt.shape
    dim = x.shape[2]
    lse = dt.float().logsumexp(2)
    # the mean slope of a softmax's inputs is that of its result along the result
    mean = (grad.float() * h.float()).sum(2)
    d_x, d_dt, d_b = torch.empty_like(x), torch.empty_like(dt), torch.empty_like(b)
    numbers, sizes = (states, length, dim), {"S": STATES, "L": POSITIONS, "D": CHANNELS}
    grid = (triton.cdiv(length, POSITIONS), triton.cdiv(states, STATES), batch)
    _weights[grid](grad, x, dt, b, lse, mean, d_dt, d_b, *numbers, **sizes)
    grid = (triton.cdiv(dim, CHANNELS), triton.cdiv(length, POSITIONS), batch)
    _inputs[grid](grad, dt, b, lse, d_x, *numbers, **sizes)
    return d_x, d_dt, d_b
