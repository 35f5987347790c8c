"""Triton kernels: a program sums the samples of one group of channels for a block of queries."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

QUERIES = 32  # of a block


@triton.jit
def corner(
    x: tl.tensor,
    y: tl.tensor,
    right: tl.tensor,
    below: tl.tensor,
    dy: tl.constexpr,
    dx: tl.constexpr,
    height: tl.tensor,
    width: tl.tensor,
    ok: tl.tensor,
) -> tl.tensor:
    """Find one of the four pixels around points, see ``bilinear_corners``.

    Args:
        x: Column of the pixel left of each point, as a floating-point number.
        y: Row of the pixel above, likewise.
        right: How far the point lies right of it, 0 to 1.
        below: How far below.
        dy: 0 for the upper, 1 for the lower pixels.
        dx: 0 for the left, 1 for the right ones.
        height: Of the image.
        width: Of the image.
        ok: Whether the point counts.

    Returns:
        Whether the pixel is in the image, its number, and its shares by row and by column.
    """
    row, column = y + dy, x + dx
    inside = ok & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    number = tl.where(inside, row, 0).to(tl.int64) * width + tl.where(inside, column, 0).to(tl.int64)
    return inside, number, below if dy else 1 - below, right if dx else 1 - right


@triton.jit
def _forward(
    value: tl.tensor,
    shapes: tl.tensor,
    starts: tl.tensor,
    pixels: tl.tensor,
    weights: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    queries: tl.tensor,
    size: tl.tensor,
    groups: tl.tensor,
    channels: tl.tensor,
    levels: tl.tensor,
    points: tl.tensor,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    group = tl.program_id(1)
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = row < rows
    c = tl.arange(0, WIDTH)
    first = (row * groups + group) * levels * points
    total = tl.zeros((BLOCK, WIDTH), dtype=weights.dtype.element_ty)
    for level in range(levels):
        height, width = tl.load(shapes + 2 * level), tl.load(shapes + 2 * level + 1)
        image = row // queries * size + tl.load(starts + level)
        for point in range(points):
            at = first + level * points + point
            x, y = tl.load(pixels + 2 * at, ok, 0.0), tl.load(pixels + 2 * at + 1, ok, 0.0)
            weight = tl.load(weights + at, ok, 0.0)
            left, top = tl.floor(x), tl.floor(y)
            for dy in tl.static_range(2):
                for dx in tl.static_range(2):
                    inside, number, by_row, by_column = corner(left, top, x - left, y - top, dy, dx, height, width, ok)
                    share = tl.where(inside, by_row * by_column * weight, 0.0)
                    here = ((image + number) * groups + group) * channels
                    seen = tl.load(value + here[:, None] + c[None, :], inside[:, None] & (c < channels)[None, :], 0.0)
                    total += share[:, None] * seen.to(total.dtype)
    to = (row * groups + group) * channels
    tl.store(out + to[:, None] + c[None, :], total, ok[:, None] & (c < channels)[None, :])


@triton.jit
def _backward(
    grad: tl.tensor,
    value: tl.tensor,
    shapes: tl.tensor,
    starts: tl.tensor,
    pixels: tl.tensor,
    weights: tl.tensor,
    d_value: tl.tensor,
    d_pixels: tl.tensor,
    d_weights: tl.tensor,
    rows: tl.tensor,
    queries: tl.tensor,
    size: tl.tensor,
    groups: tl.tensor,
    channels: tl.tensor,
    levels: tl.tensor,
    points: tl.tensor,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    group = tl.program_id(1)
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = row < rows
    c = tl.arange(0, WIDTH)
    first = (row * groups + group) * levels * points
    whole = ok[:, None] & (c < channels)[None, :]
    slope = tl.load(grad + ((row * groups + group) * channels)[:, None] + c[None, :], whole, 0.0)
    slope = slope.to(weights.dtype.element_ty)
    for level in range(levels):
        height, width = tl.load(shapes + 2 * level), tl.load(shapes + 2 * level + 1)
        image = row // queries * size + tl.load(starts + level)
        for point in range(points):
            at = first + level * points + point
            x, y = tl.load(pixels + 2 * at, ok, 0.0), tl.load(pixels + 2 * at + 1, ok, 0.0)
            weight = tl.load(weights + at, ok, 0.0)
            left, top = tl.floor(x), tl.floor(y)
            by_value, by_x, by_y = weight * 0, weight * 0, weight * 0
            for dy in tl.static_range(2):
                for dx in tl.static_range(2):
                    inside, number, by_row, by_column = corner(left, top, x - left, y - top, dy, dx, height, width, ok)
                    here = (((image + number) * groups + group) * channels)[:, None] + c[None, :]
                    read = inside[:, None] & (c < channels)[None, :]
                    dot = tl.sum(slope * tl.load(value + here, read, 0.0).to(slope.dtype), 1)
                    tl.atomic_add(d_value + here, (by_row * by_column * weight)[:, None] * slope, read)
                    by_value += tl.where(inside, dot * by_row * by_column, 0.0)
                    by_x += tl.where(inside, dot * by_row * (2 * dx - 1), 0.0)
                    by_y += tl.where(inside, dot * by_column * (2 * dy - 1), 0.0)
            tl.store(d_weights + at, by_value, ok)
            tl.store(d_pixels + 2 * at, by_x * weight, ok)
            tl.store(d_pixels + 2 * at + 1, by_y * weight, ok)


def forward(value: Tensor, shapes: Tensor, starts: Tensor, pixels: Tensor, weights: Tensor, out: Tensor) -> None:
    """Write the sums into ``out``; the arguments are those of ``foveal.ops.weighted_samples``, contiguous."""
    _launch(_forward, value, pixels, (value, shapes, starts, pixels, weights, out))


def backward(
    grad: Tensor,
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    pixels: Tensor,
    weights: Tensor,
    d_value: Tensor,
    d_pixels: Tensor,
    d_weights: Tensor,
) -> None:
    """Add to ``d_value`` and set ``d_pixels`` and ``d_weights``."""
    _launch(_backward, value, pixels, (grad, value, shapes, starts, pixels, weights, d_value, d_pixels, d_weights))


def _launch(kernel: triton.JITFunction, value: Tensor, pixels: Tensor, tensors: tuple[Tensor, ...]) -> None:
    batch, size, groups, channels = value.shape
    queries, levels, points = pixels.shape[1], pixels.shape[3], pixels.shape[4]
    rows = batch * queries
    if rows == 0 or value.numel() == 0:
        return
    grid = (triton.cdiv(rows, QUERIES), groups)
    width = triton.next_power_of_2(channels)
    with torch.cuda.device_of(value):
        kernel[grid](*tensors, rows, queries, size, groups, channels, levels, points, BLOCK=QUERIES, WIDTH=width)
