"""Restoring images that are too large for memory, and averaging over the eight turns of an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from foveal.errors import ConfigError

Network = Callable[[Tensor], Tensor]


def restore_in_tiles(network: Network, x: Tensor, scale: int, tile: int, overlap: int) -> Tensor:
    """Restore an image tile by tile; where tiles overlap, one fades into the other.

    A network that sees no farther than a quarter of ``overlap`` gives the whole-image result everywhere, any local one
    away from the seams. Memory is that of one tile and of the image.

    Args:
        network: Maps [N, C, h, w] to [N, C', h * scale, w * scale].
        x: The image [N, C, H, W].
        scale: Factor of both sides.
        tile: Side of a tile in ``x``.
        overlap: Pixels of ``x`` that neighbouring tiles share, less than ``tile``.

    Returns:
        [N, C', H * scale, W * scale].
    """
    height, width = x.shape[-2:]
    if tile >= max(height, width):
        return network(x)
    total: Tensor | None = None
    weights = x.new_zeros(height * scale, width * scale)
    for top, bottom in _spans(height, tile, overlap):
        for left, right in _spans(width, tile, overlap):
            y = network(x[..., top:bottom, left:right])
            rows = _fade(bottom - top, overlap, top > 0, bottom < height, scale, y)
            columns = _fade(right - left, overlap, left > 0, right < width, scale, y)
            weight = rows[:, None] * columns
            if total is None:
                total = y.new_zeros(*y.shape[:2], height * scale, width * scale)
            area = (slice(top * scale, bottom * scale), slice(left * scale, right * scale))
            total[(..., *area)] += y * weight
            weights[area] += weight
    assert total is not None  # there is at least one tile
    return total.div_(weights)


def self_ensemble(network: Network, x: Tensor) -> Tensor:
    """Average what a network makes of an image and of its seven flips and turns, turned back (EDSR+).

    Args:
        network: Maps [N, C, h, w] to an image of a multiple of that size.
        x: The image.
    """
    total: Tensor | None = None
    for transpose in (False, True):
        for flips in ((), (2,), (3,), (2, 3)):
            turned = (x.transpose(2, 3) if transpose else x).flip(flips)
            y = network(turned).flip(flips)
            y = y.transpose(2, 3) if transpose else y
            total = y if total is None else total + y
    assert total is not None
    return total / 8


def check_tiles(tile: int | None, overlap: int) -> None:
    """Check the two numbers of `restore_in_tiles`.

    Raises:
        ConfigError: If the overlap is negative or not less than the tile.
    """
    if overlap < 0 or (tile is not None and tile <= overlap):
        raise ConfigError(f"tiles of {tile} cannot overlap by {overlap}: 0 <= tile_overlap < tile")


def _spans(size: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin and end on one axis; the last one is moved back, so that all have one size."""
    if tile >= size:
        return [(0, size)]
    starts = [*range(0, size - tile, tile - overlap), size - tile]
    return [(start, start + tile) for start in starts]


def _fade(size: int, overlap: int, at_start: bool, at_end: bool, scale: int, like: Tensor) -> Tensor:
    """Weights of a tile's output along one axis: 1 inside, falling towards the sides where another tile goes on.

    The outer quarter of the overlap counts as good as nothing: there a network sees the border of its tile.
    """
    weight = torch.ones(size * scale, dtype=like.dtype, device=like.device)
    length = overlap * scale
    if not length:
        return weight
    place = torch.arange(length, dtype=like.dtype, device=like.device) + 0.5
    # never 0: the weights that meet at a pixel must not all vanish
    ramp = ((place / length - 0.25) * 2).clamp(1e-6, 1)
    if at_start:
        weight[:length] *= ramp
    if at_end:
        weight[-length:] *= ramp.flip(0)
    return weight
