"""Triton kernels for the columns: a program reads one tap of one offset group for a block of the output's pixels."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from foveal.ops.weighted_samples.triton import corner

ROWS = 32  # of a block
CHANNELS = 64  # at once, at most


@triton.jit
def _place(
    offset: tl.tensor,
    mask: tl.tensor,
    row: tl.tensor,
    ok: tl.tensor,
    tap: tl.tensor,
    group: tl.tensor,
    s: tl.tensor,
    MASKED: tl.constexpr,
) -> tl.tensor:
    """Return where each row's image starts, where its offset stands, x and y, where its mask stands, and its value."""
    height, width, size, out_width, kernel_width, taps = s[0], s[1], s[3], s[4], s[5], s[6]
    sy, sx, py, px, ey, ex = s[7], s[8], s[9], s[10], s[11], s[12]
    image, pixel = row // size, row % size
    number = (image * s[14] + group) * taps + tap
    at = 2 * number * size + pixel
    y = (pixel // out_width * sy - py + tap // kernel_width * ey) + tl.load(offset + at, ok, 0.0)
    x = (pixel % out_width * sx - px + tap % kernel_width * ex) + tl.load(offset + at + size, ok, 0.0)
    masked = number * size + pixel
    scale = tl.load(mask + masked, ok, 0.0) if MASKED else x * 0 + 1
    return image * height * width, at, x, y, masked, scale


@triton.jit
def _forward(
    x: tl.tensor,
    offset: tl.tensor,
    mask: tl.tensor,
    columns: tl.tensor,
    first: tl.tensor,
    count: tl.tensor,
    s: tl.tensor,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    height, width, channels, taps, groups, offset_groups = s[0], s[1], s[2], s[6], s[13], s[14]
    group, tap = tl.program_id(2), tl.program_id(1)
    local = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = local < count
    image, _, u, v, _, scale = _place(offset, mask, local + first, ok, tap, group, s, MASKED)
    left, top = tl.floor(u), tl.floor(v)
    each, filters = channels // offset_groups, channels // groups
    for start in range(0, each, WIDTH):
        part = start + tl.arange(0, WIDTH)
        c = group * each + part
        total = tl.zeros((BLOCK, WIDTH), dtype=columns.dtype.element_ty)
        for dy in tl.static_range(2):
            for dx in tl.static_range(2):
                inside, number, by_row, by_column = corner(left, top, u - left, v - top, dy, dx, height, width, ok)
                here = ((image + number) * channels)[:, None] + c[None, :]
                share = tl.where(inside, by_row * by_column * scale, 0.0)
                total += share[:, None] * tl.load(x + here, inside[:, None] & (part < each)[None, :], 0.0)
        to = ((c // filters * count)[None, :] + local[:, None]) * taps + tap
        tl.store(columns + to * filters + (c % filters)[None, :], total, ok[:, None] & (part < each)[None, :])


@triton.jit
def _backward(
    d_columns: tl.tensor,
    x: tl.tensor,
    offset: tl.tensor,
    mask: tl.tensor,
    d_x: tl.tensor,
    d_offset: tl.tensor,
    d_mask: tl.tensor,
    first: tl.tensor,
    count: tl.tensor,
    s: tl.tensor,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    height, width, channels, taps, groups, offset_groups = s[0], s[1], s[2], s[6], s[13], s[14]
    group, tap = tl.program_id(2), tl.program_id(1)
    local = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = local < count
    image, at, u, v, masked, scale = _place(offset, mask, local + first, ok, tap, group, s, MASKED)
    left, top = tl.floor(u), tl.floor(v)
    each, filters = channels // offset_groups, channels // groups
    by_value, by_x, by_y = scale * 0, scale * 0, scale * 0
    for start in range(0, each, WIDTH):
        part = start + tl.arange(0, WIDTH)
        c = group * each + part
        stands = ((c // filters * count)[None, :] + local[:, None]) * taps + tap
        slope = tl.load(
            d_columns + stands * filters + (c % filters)[None, :], ok[:, None] & (part < each)[None, :], 0.0
        )
        for dy in tl.static_range(2):
            for dx in tl.static_range(2):
                inside, number, by_row, by_column = corner(left, top, u - left, v - top, dy, dx, height, width, ok)
                here = ((image + number) * channels)[:, None] + c[None, :]
                read = inside[:, None] & (part < each)[None, :]
                dot = tl.sum(slope * tl.load(x + here, read, 0.0), 1)
                tl.atomic_add(d_x + here, (by_row * by_column * scale)[:, None] * slope, read)
                by_value += tl.where(inside, dot * by_row * by_column, 0.0)
                by_x += tl.where(inside, dot * by_row * (2 * dx - 1), 0.0)
                by_y += tl.where(inside, dot * by_column * (2 * dy - 1), 0.0)
    if MASKED:
        tl.store(d_mask + masked, by_value, ok)
    tl.store(d_offset + at, by_y * scale, ok)
    tl.store(d_offset + at + s[3], by_x * scale, ok)


def forward(x: Tensor, offset: Tensor, mask: Tensor, window: Tensor, first: int, columns: Tensor) -> None:
    """Write the columns; the arguments are those of ``foveal.ops.deform_conv2d.chunks.Kernels``."""
    _launch(_forward, x, offset, mask, window, first, columns, (x, offset, mask, columns))


def backward(
    d_columns: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    window: Tensor,
    first: int,
    d_x: Tensor,
    d_offset: Tensor,
    d_mask: Tensor,
) -> None:
    """Add to ``d_x``, set the chunk's part of ``d_offset`` and ``d_mask``."""
    tensors = d_columns, x, offset, mask, d_x, d_offset, d_mask
    _launch(_backward, x, offset, mask, window, first, d_columns, tensors)


def _launch(
    kernel: triton.JITFunction,
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    window: Tensor,
    first: int,
    columns: Tensor,
    tensors: tuple[Tensor, ...],
) -> None:
    kernel_height, kernel_width, *steps = window.tolist()
    taps = kernel_height * kernel_width
    groups, count = columns.shape[:2]
    offset_groups = offset.shape[1] // (2 * taps)
    size = offset.shape[2] * offset.shape[3]
    sizes = (*x.shape[1:], size, offset.shape[3], kernel_width, taps, *steps, groups, offset_groups)
    width = min(CHANNELS, triton.next_power_of_2(x.shape[3] // offset_groups))
    grid = (triton.cdiv(count, ROWS), taps, offset_groups)
    with torch.cuda.device_of(x):
        kernel[grid](*tensors, first, count, sizes, MASKED=mask.numel() > 0, BLOCK=ROWS, WIDTH=width)
