"""Triton kernels: a program attends with a block of neighbouring queries of one row and dilation group.

Their windows span a short run of columns, which is loaded for one row of keys at a time; what lies outside a query's
own window is masked. The backward pass goes over blocks of queries for the queries' gradient and over blocks of keys
for the others. The scores of a whole image never exist.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

QUERIES = 16  # of a block; also keys of a block in the backward pass


@triton.jit
def place(
    pid: tl.tensor, h: tl.tensor, w: tl.tensor, heads: tl.tensor, DY: tl.constexpr, DX: tl.constexpr
) -> tl.tensor:
    """Split a program's number into its row and groups.

    Returns:
        Image, head, row group, column group, row's number, rows of the group and columns of the group.
    """
    gx = pid % DX
    gy = pid // DX % DY
    head = pid // (DX * DY) % heads
    most = (h + DY - 1) // DY
    y = pid // (DX * DY * heads) % most
    n = pid // (DX * DY * heads * most)
    return n, head, gy, gx, y, (h - gy + DY - 1) // DY, (w - gx + DX - 1) // DX


@triton.jit
def start(p: tl.tensor, m: tl.tensor, K: tl.constexpr) -> tl.tensor:
    """Return where the window of number ``p`` begins in a group of ``m``."""
    return tl.minimum(tl.maximum(p - K // 2, 0), m - K)


@triton.jit
def window(x: tl.tensor, key: tl.tensor, mx: tl.tensor, KX: tl.constexpr) -> tl.tensor:
    """Return whether queries [Q, 1] attend to the columns of keys [1, K]."""
    first = start(x, mx, KX)
    return (x < mx) & (key >= first) & (key < first + KX)


@triton.jit
def _forward(
    q: tl.tensor, k: tl.tensor, v: tl.tensor, rpb: tl.tensor, out: tl.tensor, lse: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, scale: tl.tensor,
    KY: tl.constexpr, KX: tl.constexpr, DY: tl.constexpr, DX: tl.constexpr,
    BIAS: tl.constexpr, Q: tl.constexpr, SPAN: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head, gy, gx, y, my, mx = place(tl.program_id(0).to(tl.int64), h, w, heads, DY, DX)
    if y < my:
        d = tl.arange(0, D)[None, :]
        x = tl.program_id(1) * Q + tl.arange(0, Q)[:, None]
        column = (start(tl.program_id(1) * Q, mx, KX) + tl.arange(0, SPAN))[:, None]
        pixel = (n * h + gy + y * DY) * w + gx + x * DX
        mine = (x < mx) & (d < dim)
        query = tl.load(q + (pixel * heads + head) * dim + d, mine, 0.0)
        key_x = tl.trans(column)
        inside = window(x, key_x, mx, KX)
        top = start(y, my, KY)
        most = tl.full((Q,), -1e30, tl.float32)
        total = tl.zeros((Q,), tl.float32)
        sums = tl.zeros((Q, D), tl.float32)
        for row in range(KY):
            at = (((n * h + gy + (top + row) * DY) * w + gx + column * DX) * heads + head) * dim + d
            there = (column < mx) & (d < dim)
            s = tl.dot(query, tl.trans(tl.load(k + at, there, 0.0)), input_precision="ieee") * scale
            if BIAS:
                line = rpb + (head * (2 * KY - 1) + top + row - y + KY - 1) * (2 * KX - 1)
                s += tl.load(line + key_x - x + KX - 1, inside, 0.0).to(tl.float32)
            s = tl.where(inside, s, -float("inf"))
            higher = tl.maximum(most, tl.max(s, 1))
            p = tl.exp(s - higher[:, None])
            fade = tl.exp(most - higher)
            total = total * fade + tl.sum(p, 1)
            value = tl.load(v + at, there, 0.0)
            sums = sums * fade[:, None] + tl.dot(p.to(value.dtype), value, input_precision="ieee")
            most = higher
        ok = tl.reshape(x, (Q,)) < mx
        total = tl.where(ok, total, 1.0)
        tl.store(out + (pixel * heads + head) * dim + d, (sums / total[:, None]).to(out.dtype.element_ty), mine)
        tl.store(lse + tl.reshape(pixel, (Q,)) * heads + head, most + tl.log(total), ok)


@triton.jit
def _queries(
    q: tl.tensor, k: tl.tensor, v: tl.tensor, rpb: tl.tensor, grad: tl.tensor, out: tl.tensor, lse: tl.tensor,
    delta: tl.tensor, dq: tl.tensor, drpb: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, scale: tl.tensor,
    KY: tl.constexpr, KX: tl.constexpr, DY: tl.constexpr, DX: tl.constexpr,
    BIAS: tl.constexpr, Q: tl.constexpr, SPAN: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head, gy, gx, y, my, mx = place(tl.program_id(0).to(tl.int64), h, w, heads, DY, DX)
    if y < my:
        d = tl.arange(0, D)[None, :]
        x = tl.program_id(1) * Q + tl.arange(0, Q)[:, None]
        column = (start(tl.program_id(1) * Q, mx, KX) + tl.arange(0, SPAN))[:, None]
        pixel = (n * h + gy + y * DY) * w + gx + x * DX
        own = (pixel * heads + head) * dim + d
        mine = (x < mx) & (d < dim)
        query, slope = tl.load(q + own, mine, 0.0), tl.load(grad + own, mine, 0.0)
        mean = tl.sum(slope.to(tl.float32) * tl.load(out + own, mine, 0.0).to(tl.float32), 1)
        ok = tl.reshape(x, (Q,)) < mx
        norm = tl.load(lse + tl.reshape(pixel, (Q,)) * heads + head, ok, 0.0)
        tl.store(delta + tl.reshape(pixel, (Q,)) * heads + head, mean, ok)
        key_x = tl.trans(column)
        inside = window(x, key_x, mx, KX)
        top = start(y, my, KY)
        sums = tl.zeros((Q, D), tl.float32)
        for row in range(KY):
            at = (((n * h + gy + (top + row) * DY) * w + gx + column * DX) * heads + head) * dim + d
            there = (column < mx) & (d < dim)
            key = tl.load(k + at, there, 0.0)
            s = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
            cell = (head * (2 * KY - 1) + top + row - y + KY - 1) * (2 * KX - 1) + key_x - x + KX - 1
            if BIAS:
                s += tl.load(rpb + cell, inside, 0.0).to(tl.float32)
            p = tl.where(inside, tl.exp(s - norm[:, None]), 0.0)
            ds = p * (tl.dot(slope, tl.trans(tl.load(v + at, there, 0.0)), input_precision="ieee") - mean[:, None])
            if BIAS:
                tl.atomic_add(drpb + cell, ds, inside)
            sums += tl.dot(ds.to(key.dtype), key, input_precision="ieee")
        tl.store(dq + own, (sums * scale).to(dq.dtype.element_ty), mine)


@triton.jit
def _keys(
    q: tl.tensor, k: tl.tensor, v: tl.tensor, rpb: tl.tensor, grad: tl.tensor, lse: tl.tensor, delta: tl.tensor,
    dk: tl.tensor, dv: tl.tensor,
    h: tl.tensor, w: tl.tensor, heads: tl.tensor, dim: tl.tensor, scale: tl.tensor,
    KY: tl.constexpr, KX: tl.constexpr, DY: tl.constexpr, DX: tl.constexpr,
    BIAS: tl.constexpr, Q: tl.constexpr, SPAN: tl.constexpr, D: tl.constexpr,
) -> None:  # fmt: skip
    n, head, gy, gx, y, my, mx = place(tl.program_id(0).to(tl.int64), h, w, heads, DY, DX)
    if y < my:
        d = tl.arange(0, D)[None, :]
        first = tl.program_id(1) * Q
        column = (first + tl.arange(0, Q))[:, None]
        own = (((n * h + gy + y * DY) * w + gx + column * DX) * heads + head) * dim + d
        mine = (column < mx) & (d < dim)
        key, value = tl.load(k + own, mine, 0.0), tl.load(v + own, mine, 0.0)
        # a number below K is in the windows that stick to the border, all from the group's first member on
        x = (tl.where(first < KX, 0, first - KX // 2) + tl.arange(0, SPAN))[:, None]
        key_x = tl.trans(column)
        inside = window(x, key_x, mx, KX)
        sum_k, sum_v = tl.zeros((Q, D), tl.float32), tl.zeros((Q, D), tl.float32)
        low = tl.where(y < KY, 0, y - KY // 2)
        high = tl.where(y >= my - KY, my, y + KY // 2 + 1)
        for row in range(low, high):
            top = start(row, my, KY)
            attends = inside & (top <= y) & (y < top + KY)
            pixel = (n * h + gy + row * DY) * w + gx + x * DX
            at = (pixel * heads + head) * dim + d
            there = (x < mx) & (d < dim)
            query, slope = tl.load(q + at, there, 0.0), tl.load(grad + at, there, 0.0)
            s = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
            if BIAS:
                line = rpb + (head * (2 * KY - 1) + y - row + KY - 1) * (2 * KX - 1)
                s += tl.load(line + key_x - x + KX - 1, attends, 0.0).to(tl.float32)
            p = tl.where(attends, tl.exp(s - tl.load(lse + pixel * heads + head, x < mx, 0.0)), 0.0)
            mean = tl.load(delta + pixel * heads + head, x < mx, 0.0)
            ds = p * (tl.dot(slope, tl.trans(value), input_precision="ieee") - mean)
            sum_v += tl.dot(tl.trans(p.to(slope.dtype)), slope, input_precision="ieee")
            sum_k += tl.dot(tl.trans(ds.to(query.dtype)), query, input_precision="ieee")
        tl.store(dk + own, (sum_k * scale).to(dk.dtype.element_ty), mine)
        tl.store(dv + own, sum_v.to(dv.dtype.element_ty), mine)


def forward(
    q: Tensor, k: Tensor, v: Tensor, rpb: Tensor | None, kernel_size: list[int], dilation: list[int], scale: float
) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp of the scores, float32 [N, H, W, heads]."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    bias = q if rpb is None else rpb.contiguous()
    out = torch.empty_like(q)
    lse = q.new_empty(q.shape[:-1], dtype=torch.float32)
    grid, numbers, sizes = _launch(q, kernel_size, dilation, scale, kernel_size[1] - 1)
    _forward[grid](q, k, v, bias, out, lse, *numbers, BIAS=rpb is not None, **sizes)
    return out, lse


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rpb: Tensor | None,
    kernel_size: list[int],
    dilation: list[int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients for q, k, v and the bias, [0] without one."""
    q, k, v, grad = q.contiguous(), k.contiguous(), v.contiguous(), grad.contiguous()
    out, lse = forward(q, k, v, rpb, kernel_size, dilation, scale)
    bias = q if rpb is None else rpb.contiguous()
    delta, d_q, d_k, d_v = torch.empty_like(lse), torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    d_bias = q.new_zeros(0 if rpb is None else rpb.shape, dtype=torch.float32)
    grid, numbers, sizes = _launch(q, kernel_size, dilation, scale, kernel_size[1] - 1)
    has = rpb is not None
    _queries[grid](q, k, v, bias, grad, out, lse, delta, d_q, d_bias, *numbers, BIAS=has, **sizes)
    grid, numbers, sizes = _launch(q, kernel_size, dilation, scale, 2 * kernel_size[1])
    _keys[grid](q, k, v, bias, grad, lse, delta, d_k, d_v, *numbers, BIAS=has, **sizes)
    return d_q, d_k, d_v, d_bias.to(q.dtype)


def _launch(
    q: Tensor, kernel_size: list[int], dilation: list[int], scale: float, reach: int
) -> tuple[tuple[int, int], tuple[Any, ...], dict[str, int]]:
    """Return the grid, the numbers and the constants; a block of QUERIES meets ``reach`` columns more than it has."""
    batch, height, width, heads, dim = q.shape
    rows, columns = (-(-length // step) for length, step in zip((height, width), dilation, strict=True))
    grid = (batch * rows * heads * dilation[0] * dilation[1], triton.cdiv(columns, QUERIES))
    sizes = {
        **dict(zip(("KY", "KX"), kernel_size, strict=True)),
        **dict(zip(("DY", "DX"), dilation, strict=True)),
        "Q": QUERIES,
        "SPAN": max(16, triton.next_power_of_2(QUERIES + reach)),
        "D": max(16, triton.next_power_of_2(dim)),
    }
    return grid, (height, width, heads, dim, scale), sizes
