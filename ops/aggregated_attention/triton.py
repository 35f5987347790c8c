"""Triton kernels: a program attends with a block of neighbouring queries of one row.

It goes over the rows of keys that the windows meet, what lies outside a query's own window masked, then over blocks of
pooled keys, with one running softmax. The backward pass goes over blocks of queries for what belongs to a query, over
blocks of keys for the keys' and values' gradients, and over blocks of pooled keys for theirs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

QUERIES = 16  # of a block; also keys of a block in the backward pass
POOLED = 32  # pooled keys of a block


@triton.jit
def split(pid: tl.tensor, h: tl.tensor, heads: tl.tensor) -> tl.tensor:
    """Split a program's number into its image, head and row."""
    return pid // (heads * h), pid // h % heads, pid % h


@triton.jit
def step(s: tl.tensor, value: tl.tensor, most: tl.tensor, total: tl.tensor, sums: tl.tensor) -> tl.tensor:
    """Take scores [Q, K] and values [K, D] into the running softmax."""
    higher = tl.maximum(most, tl.max(s, 1))
    p = tl.exp(s - higher[:, None])
    fade = tl.exp(most - higher)
    sums = sums * fade[:, None] + tl.dot(p.to(value.dtype), value, input_precision="ieee")
    return higher, total * fade + tl.sum(p, 1), sums


@triton.jit
def _forward(
    q: tl.tensor, k: tl.tensor, v: tl.tensor, k_pool: tl.tensor, v_pool: tl.tensor,
    local_bias: tl.tensor, pool_bias: tl.tensor, local_weights: tl.tensor, out: tl.tensor, lse: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, pooled: tl.tensor, scale: tl.tensor,
    K: tl.constexpr, LOCAL: tl.constexpr, POOL: tl.constexpr, WEIGHTS: tl.constexpr,
    Q: tl.constexpr, SPAN: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head, y = split(tl.program_id(0).to(tl.int64), h, heads)
    d = tl.arange(0, D)[None, :]
    x = tl.program_id(1) * Q + tl.arange(0, Q)[:, None]
    column = (tl.program_id(1) * Q - K // 2 + tl.arange(0, SPAN))[:, None]
    pixel = (n * h + y) * w + x
    mine = (x < w) & (d < dim)
    query = tl.load(q + (pixel * heads + head) * dim + d, mine, 0.0)
    key_x = tl.trans(column)
    cell_x = key_x - x + K // 2
    inside = (x < w) & (key_x >= 0) & (key_x < w) & (cell_x >= 0) & (cell_x < K)
    most = tl.full((Q,), -1e30, tl.float32)
    total = tl.zeros((Q,), tl.float32)
    sums = tl.zeros((Q, D), tl.float32)
    extra = tl.zeros((Q, D), tl.float32)
    for row in range(tl.maximum(y - K // 2, 0), tl.minimum(y + K // 2 + 1, h)):
        at = (((n * h + row) * w + column) * heads + head) * dim + d
        there = (column >= 0) & (column < w) & (d < dim)
        value = tl.load(v + at, there, 0.0)
        s = tl.dot(query, tl.trans(tl.load(k + at, there, 0.0)), input_precision="ieee") * scale
        cell = (row - y + K // 2) * K + cell_x
        if LOCAL:
            s += tl.load(local_bias + head * K * K + cell, inside, 0.0).to(tl.float32)
        most, total, sums = step(tl.where(inside, s, -float("inf")), value, most, total, sums)
        if WEIGHTS:
            weight = tl.load(local_weights + (pixel * heads + head) * K * K + cell, inside, 0.0)
            extra += tl.dot(weight, value, input_precision="ieee")
    for first in range(0, pooled, P):
        p = (first + tl.arange(0, P))[:, None]
        at = ((n * pooled + p) * heads + head) * dim + d
        there = (p < pooled) & (d < dim)
        s = tl.dot(query, tl.trans(tl.load(k_pool + at, there, 0.0)), input_precision="ieee") * scale
        ok = (x < w) & (tl.trans(p) < pooled)
        if POOL:
            s += tl.load(pool_bias + ((head * h + y) * w + x) * pooled + tl.trans(p), ok, 0.0).to(tl.float32)
        s = tl.where(ok, s, -float("inf"))
        most, total, sums = step(s, tl.load(v_pool + at, there, 0.0), most, total, sums)
    total = tl.where(tl.reshape(x, (Q,)) < w, total, 1.0)
    result = sums / total[:, None] + extra
    tl.store(out + (pixel * heads + head) * dim + d, result.to(out.dtype.element_ty), mine)
    tl.store(lse + tl.reshape(pixel, (Q,)) * heads + head, most + tl.log(total), tl.reshape(x, (Q,)) < w)


@triton.jit
def _queries(
    q: tl.tensor, k: tl.tensor, v: tl.tensor, k_pool: tl.tensor, v_pool: tl.tensor,
    local_bias: tl.tensor, pool_bias: tl.tensor, grad: tl.tensor, soft: tl.tensor, lse: tl.tensor, delta: tl.tensor,
    dq: tl.tensor, d_local_bias: tl.tensor, d_pool_bias: tl.tensor, d_local_weights: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, pooled: tl.tensor, scale: tl.tensor,
    K: tl.constexpr, LOCAL: tl.constexpr, POOL: tl.constexpr, WEIGHTS: tl.constexpr,
    Q: tl.constexpr, SPAN: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head, y = split(tl.program_id(0).to(tl.int64), h, heads)
    d = tl.arange(0, D)[None, :]
    x = tl.program_id(1) * Q + tl.arange(0, Q)[:, None]
    column = (tl.program_id(1) * Q - K // 2 + tl.arange(0, SPAN))[:, None]
    pixel = (n * h + y) * w + x
    own = (pixel * heads + head) * dim + d
    mine = (x < w) & (d < dim)
    query, slope = tl.load(q + own, mine, 0.0), tl.load(grad + own, mine, 0.0)
    mean = tl.sum(slope.to(tl.float32) * tl.load(soft + own, mine, 0.0).to(tl.float32), 1)
    number = tl.reshape(pixel, (Q,)) * heads + head
    norm = tl.load(lse + number, tl.reshape(x, (Q,)) < w, 0.0)
    tl.store(delta + number, mean, tl.reshape(x, (Q,)) < w)
    key_x = tl.trans(column)
    cell_x = key_x - x + K // 2
    inside = (x < w) & (key_x >= 0) & (key_x < w) & (cell_x >= 0) & (cell_x < K)
    sums = tl.zeros((Q, D), tl.float32)
    for row in range(tl.maximum(y - K // 2, 0), tl.minimum(y + K // 2 + 1, h)):
        at = (((n * h + row) * w + column) * heads + head) * dim + d
        there = (column >= 0) & (column < w) & (d < dim)
        key = tl.load(k + at, there, 0.0)
        s = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        cell = (row - y + K // 2) * K + cell_x
        if LOCAL:
            s += tl.load(local_bias + head * K * K + cell, inside, 0.0).to(tl.float32)
        p = tl.where(inside, tl.exp(s - norm[:, None]), 0.0)
        dp = tl.dot(slope, tl.trans(tl.load(v + at, there, 0.0)), input_precision="ieee")
        ds = p * (dp - mean[:, None])
        if WEIGHTS:
            to = d_local_weights + (pixel * heads + head) * K * K + cell
            tl.store(to, dp.to(d_local_weights.dtype.element_ty), inside)
        if LOCAL:
            tl.atomic_add(d_local_bias + head * K * K + cell, ds, inside)
        sums += tl.dot(ds.to(key.dtype), key, input_precision="ieee")
    for first in range(0, pooled, P):
        number_p = (first + tl.arange(0, P))[:, None]
        at = ((n * pooled + number_p) * heads + head) * dim + d
        there = (number_p < pooled) & (d < dim)
        key = tl.load(k_pool + at, there, 0.0)
        s = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        ok = (x < w) & (tl.trans(number_p) < pooled)
        cell = ((head * h + y) * w + x) * pooled + tl.trans(number_p)
        if POOL:
            s += tl.load(pool_bias + cell, ok, 0.0).to(tl.float32)
        p = tl.where(ok, tl.exp(s - norm[:, None]), 0.0)
        ds = p * (tl.dot(slope, tl.trans(tl.load(v_pool + at, there, 0.0)), input_precision="ieee") - mean[:, None])
        if POOL:
            tl.atomic_add(d_pool_bias + cell, ds, ok)
        sums += tl.dot(ds.to(key.dtype), key, input_precision="ieee")
    tl.store(dq + own, (sums * scale).to(dq.dtype.element_ty), mine)


@triton.jit
def _keys(
    q: tl.tensor, k: tl.tensor, v: tl.tensor, local_bias: tl.tensor, local_weights: tl.tensor,
    grad: tl.tensor, lse: tl.tensor, delta: tl.tensor, dk: tl.tensor, dv: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, pooled: tl.tensor, scale: tl.tensor,
    K: tl.constexpr, LOCAL: tl.constexpr, POOL: tl.constexpr, WEIGHTS: tl.constexpr,
    Q: tl.constexpr, SPAN: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head, y = split(tl.program_id(0).to(tl.int64), h, heads)
    d = tl.arange(0, D)[None, :]
    column = (tl.program_id(1) * Q + tl.arange(0, Q))[:, None]
    own = (((n * h + y) * w + column) * heads + head) * dim + d
    mine = (column < w) & (d < dim)
    key, value = tl.load(k + own, mine, 0.0), tl.load(v + own, mine, 0.0)
    x = (tl.program_id(1) * Q - K // 2 + tl.arange(0, SPAN))[:, None]
    cell_x = tl.trans(column) - x + K // 2
    inside = (x >= 0) & (x < w) & (tl.trans(column) < w) & (cell_x >= 0) & (cell_x < K)
    sum_k, sum_v = tl.zeros((Q, D), tl.float32), tl.zeros((Q, D), tl.float32)
    for row in range(tl.maximum(y - K // 2, 0), tl.minimum(y + K // 2 + 1, h)):
        pixel = (n * h + row) * w + x
        at = (pixel * heads + head) * dim + d
        real = (x >= 0) & (x < w)
        query, slope = tl.load(q + at, real & (d < dim), 0.0), tl.load(grad + at, real & (d < dim), 0.0)
        s = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        cell = (y - row + K // 2) * K + cell_x
        if LOCAL:
            s += tl.load(local_bias + head * K * K + cell, inside, 0.0).to(tl.float32)
        p = tl.where(inside, tl.exp(s - tl.load(lse + pixel * heads + head, real, 0.0)), 0.0)
        mean = tl.load(delta + pixel * heads + head, real, 0.0)
        ds = p * (tl.dot(slope, tl.trans(value), input_precision="ieee") - mean)
        if WEIGHTS:
            p += tl.load(local_weights + (pixel * heads + head) * K * K + cell, inside, 0.0).to(tl.float32)
        sum_v += tl.dot(tl.trans(p.to(slope.dtype)), slope, input_precision="ieee")
        sum_k += tl.dot(tl.trans(ds.to(query.dtype)), query, input_precision="ieee")
    tl.store(dk + own, (sum_k * scale).to(dk.dtype.element_ty), mine)
    tl.store(dv + own, sum_v.to(dv.dtype.element_ty), mine)


@triton.jit
def _pool(
    q: tl.tensor, k_pool: tl.tensor, v_pool: tl.tensor, pool_bias: tl.tensor, grad: tl.tensor, lse: tl.tensor,
    delta: tl.tensor, dk: tl.tensor, dv: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, pooled: tl.tensor, scale: tl.tensor,
    POOL: tl.constexpr, Q: tl.constexpr, P: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head = tl.program_id(0).to(tl.int64) // heads, tl.program_id(0) % heads
    d = tl.arange(0, D)[None, :]
    number = (tl.program_id(1) * P + tl.arange(0, P))[:, None]
    own = ((n * pooled + number) * heads + head) * dim + d
    mine = (number < pooled) & (d < dim)
    key, value = tl.load(k_pool + own, mine, 0.0), tl.load(v_pool + own, mine, 0.0)
    sum_k, sum_v = tl.zeros((P, D), tl.float32), tl.zeros((P, D), tl.float32)
    for first in range(0, h * w, Q):
        place = (first + tl.arange(0, Q))[:, None]
        at = (n * h * w + place) * heads + head
        real = place < h * w
        query = tl.load(q + at * dim + d, real & (d < dim), 0.0)
        slope = tl.load(grad + at * dim + d, real & (d < dim), 0.0)
        s = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        ok = real & (tl.trans(number) < pooled)
        if POOL:
            s += tl.load(pool_bias + (head * h * w + place) * pooled + tl.trans(number), ok, 0.0).to(tl.float32)
        p = tl.where(ok, tl.exp(s - tl.load(lse + at, real, 0.0)), 0.0)
        ds = p * (tl.dot(slope, tl.trans(value), input_precision="ieee") - tl.load(delta + at, real, 0.0))
        sum_v += tl.dot(tl.trans(p.to(slope.dtype)), slope, input_precision="ieee")
        sum_k += tl.dot(tl.trans(ds.to(query.dtype)), query, input_precision="ieee")
    tl.store(dk + own, (sum_k * scale).to(dk.dtype.element_ty), mine)
    tl.store(dv + own, sum_v.to(dv.dtype.element_ty), mine)


def forward(tensors: list[Tensor | None], kernel_size: int, scale: float) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp of the scores, float32 [N, H, W, heads].

    Args:
        tensors: q, k, v, k_pool, v_pool, local_bias, pool_bias and local_weights, the last three or None.
        kernel_size: Side of the window.
        scale: Factor of the scores.
    """
    given, has = _ready(tensors)
    q = given[0]
    out, lse = torch.empty_like(q), q.new_empty(q.shape[:-1], dtype=torch.float32)
    grid, numbers, sizes = _launch(q, given[3].shape[1], kernel_size)
    _forward[grid](*given, out, lse, *numbers, scale, K=kernel_size, **has, **sizes)
    return out, lse


def backward(grad: Tensor, tensors: list[Tensor | None], kernel_size: int, scale: float) -> list[Tensor]:
    """Return the gradients of ``tensors``, see `forward`, [0] for None."""
    given, has = _ready(tensors)
    soft, lse = forward([*given[:5], *tensors[5:7], None], kernel_size, scale)
    q, k, v, k_pool, v_pool, local_bias, pool_bias, local_weights = given
    grad, delta = grad.contiguous(), torch.empty_like(lse)
    d_q, d_k, d_v, d_k_pool, d_v_pool = (torch.empty_like(x) for x in given[:5])
    # programs add to the biases' gradients
    d_biases = [q.new_zeros(0 if x is None else x.shape, dtype=torch.float32) for x in tensors[5:7]]
    d_weights = q.new_zeros(0 if tensors[7] is None else local_weights.shape)
    grid, numbers, sizes = _launch(q, k_pool.shape[1], kernel_size)
    every = {"K": kernel_size, **has, **sizes}
    _queries[grid](*given[:7], grad, soft, lse, delta, d_q, *d_biases, d_weights, *numbers, scale, **every)
    _keys[grid](q, k, v, local_bias, local_weights, grad, lse, delta, d_k, d_v, *numbers, scale, **every)
    if k_pool.numel():
        grid = (q.shape[0] * q.shape[3], triton.cdiv(k_pool.shape[1], POOLED))
        few = {name: every[name] for name in ("POOL", "Q", "P", "D")}
        _pool[grid](q, k_pool, v_pool, pool_bias, grad, lse, delta, d_k_pool, d_v_pool, *numbers, scale, **few)
    return [d_q, d_k, d_v, d_k_pool, d_v_pool, *(x.to(q.dtype) for x in d_biases), d_weights]


def _ready(tensors: list[Tensor | None]) -> tuple[list[Tensor], dict[str, bool]]:
    """Contiguous tensors, the queries in place of None, and which of the last three there are."""
    q = tensors[0]
    assert q is not None
    has = dict(zip(("LOCAL", "POOL", "WEIGHTS"), (x is not None for x in tensors[5:]), strict=True))
    return [(q if x is None else x).contiguous() for x in tensors], has


def _launch(
    q: Tensor, pooled: int, kernel_size: int
) -> tuple[tuple[int, int], tuple[int, int, int, int, int], dict[str, int]]:
    """Return the grid, the sizes that a kernel is told, and those that it is compiled for."""
    batch, height, width, heads, dim = q.shape
    constants = {
        "Q": QUERIES,
        "SPAN": max(16, triton.next_power_of_2(QUERIES + kernel_size - 1)),
        "P": POOLED,
        "D": max(16, triton.next_power_of_2(dim)),
    }
    grid = (batch * heads * height, triton.cdiv(width, QUERIES))
    return grid, (height, width, heads, dim, pooled), constants
