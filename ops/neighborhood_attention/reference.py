"""Neighbourhood attention in PyTorch: what every other backend must equal.

On an axis of length n, with kernel size k and dilation d, position i is number p = i div d of the dilation group
g = i mod d, which has m = ceil((n - g) / d) positions. It attends to the numbers s … s + k - 1 of its group, where
s = min(max(p - k div 2, 0), m - k): the window around p, shifted inside at the borders. Key number j gets bias number
j - p + k - 1. On two axes both hold independently, and one softmax goes over all keys of the window.

No query gathers its own keys: a group is cut into tiles of neighbouring queries, whose windows lie in one short span
of keys, and a tile attends to its span at once, with a bias of -inf outside each query's window.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]
CAPACITY = 512  # cut axes that are kept; multi-scale training meets hundreds of lengths: the oldest go


class Axis(NamedTuple):
    """How an axis is cut.

    Args:
        groups: Number of dilation groups,
        tiles: of tiles in each,
        queries: of queries in a tile, the last ones of which may lie past the axis's end,
        keys: and of keys in a tile's span.
        positions: int64 [groups * tiles * keys], the keys' places on the axis.
        bias: int64 [groups, tiles, queries, keys], numbers of the bias, 2k - 1 outside the window. Groups are 1 where
            all have the same length, and so the same numbers.
    """

    groups: int
    tiles: int
    queries: int
    keys: int
    positions: Tensor
    bias: Tensor

    @property
    def length(self) -> int:
        """Of the axis, with the queries past its end."""
        return self.groups * self.tiles * self.queries


def neighborhood_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, kernel_size: Pair, dilation: Pair, rpb: Tensor | None, scale: float
) -> Tensor:
    """Compute neighbourhood attention on two axes.

    Args:
        q: [N, H, W, heads, dim].
        k: As ``q``.
        v: As ``q``.
        kernel_size: For H and W, odd.
        dilation: For H and W; kernel_size * dilation is at most the axis's length.
        rpb: Bias [heads, 2 * kernel_size[0] - 1, 2 * kernel_size[1] - 1], or None.
        scale: Factor of q·k, before the bias.

    Returns:
        [N, H, W, heads, dim].
    """
    batch, height, width, heads, dim = q.shape
    rows = _cut(height, kernel_size[0], dilation[0], q.device)
    cols = _cut(width, kernel_size[1], dilation[1], q.device)
    queries, keys = rows.queries * cols.queries, rows.keys * cols.keys
    groups, blocks = rows.groups * cols.groups, rows.tiles * cols.tiles * heads
    bias = _tile_bias(rpb, kernel_size, rows, cols, q)
    # the second dimension holds what has a bias of its own, the first what shares it
    own = bias.shape[0] * blocks
    lead = (batch * groups // bias.shape[0], own)
    out = F.scaled_dot_product_attention(
        _tile_queries(q, rows, cols).reshape(*lead, queries, dim),
        _tile_keys(k, rows, cols).reshape(*lead, keys, dim),
        _tile_keys(v, rows, cols).reshape(*lead, keys, dim),
        attn_mask=bias.reshape(1, own, queries, keys),
        scale=scale,
    )
    out = out.reshape(-1, heads, queries, dim).transpose(1, 2)
    out = out.reshape(batch, rows.groups, cols.groups, rows.tiles, cols.tiles, rows.queries, cols.queries, heads * dim)
    out = out.permute(0, 3, 5, 1, 4, 6, 2, 7).reshape(batch, rows.length, cols.length, heads, dim)
    return out[:, :height, :width]


# No tensor below has more than eight dimensions, which is what runtimes such as TensorRT have.


def _tile_queries(x: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """[N, H, W, heads, dim] to [N * groups * tiles, heads, queries, dim], with zeros past the end."""
    batch, height, width, heads, dim = x.shape
    if (rows.length, cols.length) != (height, width):
        x = F.pad(x, (0, 0, 0, 0, 0, cols.length - width, 0, rows.length - height))
    x = x.reshape(batch, rows.tiles, rows.queries, rows.groups, cols.tiles, cols.queries, cols.groups, heads * dim)
    x = x.permute(0, 3, 6, 1, 4, 2, 5, 7)
    return x.reshape(-1, rows.queries * cols.queries, heads, dim).transpose(1, 2)


def _tile_keys(x: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """[N, H, W, heads, dim] to [N * groups * tiles, heads, keys, dim]."""
    batch, _, _, heads, dim = x.shape
    x = x.index_select(1, rows.positions).index_select(2, cols.positions)
    x = x.reshape(batch, rows.groups, rows.tiles, rows.keys, cols.groups, cols.tiles, cols.keys, heads * dim)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, rows.keys * cols.keys, heads, dim).transpose(1, 2)


def _tile_bias(rpb: Tensor | None, kernel_size: Pair, rows: Axis, cols: Axis, like: Tensor) -> Tensor:
    """The bias of every query and key of a tile, [groups or 1, tiles * heads * queries * keys]."""
    heads = like.shape[3]
    if rpb is None:
        rpb = like.new_zeros(heads, *(2 * size - 1 for size in kernel_size))
    table = F.pad(rpb, (0, 1, 0, 1), value=-torch.inf)
    bias = table.index_select(1, rows.bias.flatten()).index_select(2, cols.bias.flatten())
    across, along = (axis.bias.flatten(0, 1).shape for axis in (rows, cols))
    bias = bias.reshape(heads, *across, *along).permute(1, 4, 0, 2, 5, 3, 6)
    groups = rows.bias.shape[0], cols.bias.shape[0]
    bias = bias.reshape(groups[0], rows.tiles, groups[1], cols.tiles, -1).transpose(1, 2)
    if groups != (1, 1):
        bias = bias.expand(rows.groups, cols.groups, *bias.shape[2:])
    return bias.flatten(2).flatten(0, 1)


_axes: dict[Hashable, Axis] = {}


def _cut(length: int, kernel_size: int, dilation: int, device: torch.device) -> Axis:
    """Return the axis's cut, from the cache where it is there."""
    # a tracer's stand-in tensors must not outlive the trace
    if torch.compiler.is_compiling():
        return _make_cut(length, kernel_size, dilation, device)
    key = (length, kernel_size, dilation, device)
    if key not in _axes:
        # made while predicting, used while training: autograd refuses tensors of inference mode
        with torch.inference_mode(False):
            axis = _make_cut(length, kernel_size, dilation, device)
        if type(axis.bias) is not Tensor:
            return axis
        while len(_axes) >= CAPACITY:
            _axes.pop(next(iter(_axes)))
        _axes[key] = axis
    return _axes[key]


def _make_cut(length: int, kernel_size: int, dilation: int, device: torch.device) -> Axis:
    numbers = -(-length // dilation)
    # one tile computes all pairs of a group, many tiles copy the keys that their spans share
    tiles = 1 if numbers <= 2 * kernel_size else -(-numbers // (kernel_size + 1))
    queries = -(-numbers // tiles)
    tiles = -(-numbers // queries)
    keys = min(numbers, queries + kernel_size - 1)

    group = torch.arange(dilation, device=device).view(-1, 1, 1, 1)
    first = torch.arange(tiles, device=device).view(-1, 1, 1) * queries
    query = first + torch.arange(queries, device=device).view(-1, 1)
    key = (first - kernel_size // 2).clamp(0, numbers - keys) + torch.arange(keys, device=device)
    size = (length - group + dilation - 1) // dilation
    start = torch.minimum((query - kernel_size // 2).clamp(min=0), size - kernel_size)
    # a query past the end may have any finite bias, its output is cut off
    number = (key - query + kernel_size - 1).clamp(min=0)
    bias = torch.where((key >= start) & (key < start + kernel_size), number, 2 * kernel_size - 1)
    positions = (key * dilation + group).clamp(max=length - 1).flatten()
    return Axis(dilation, tiles, queries, keys, positions, bias if length % dilation else bias[:1])
