"""Where queries and pooled keys are: what the position bias of TransNeXt's attention is computed from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# pixels along each axis of the window around a query
WINDOW = 3


class Axis(NamedTuple):
    """How far every query is from every pooled key, along the rows or the columns of a map.

    Args:
        coords: Float [U], the distances that occur, on a logarithmic scale.
        lookup: Int64 [Q, K], which of them is between a query and a key.
        queries: Number of queries that the map has, if the bias is to be resized to it from Q,
        keys: and of pooled keys.
    """

    coords: Tensor
    lookup: Tensor
    queries: int
    keys: int


class Positions(NamedTuple):
    """What the blocks of a stage need to know about their map.

    Args:
        rows: Along H.
        columns: Along W.
        log_length: Logarithm of the number of keys a query attends to, float [H, W, 1, 1] or [].
    """

    rows: Axis
    columns: Axis
    log_length: Tensor


def make_axis(trained: int, actual: int, pretrained: int, ratio: int, device: torch.device) -> Axis:
    """Measure the distances along an axis.

    Args:
        trained: Length that the bias is made for.
        actual: Length that it is resized to.
        pretrained: Length that counts as a distance of 8, before the logarithm.
        ratio: Queries to one pooled key, at least 1.
        device: Of the tensors.

    Returns:
        The axis.
    """
    pools = max(trained // ratio, 1)
    # adaptive pooling averages positions first … last: the centres, doubled, are first + last, and whole numbers
    centres = [j * trained // pools + -(-(j + 1) * trained // pools) - 1 for j in range(pools)]
    step = 2 if all(centre % 2 == centres[0] % 2 for centre in centres) else 1
    low, high = -max(centres), 2 * (trained - 1) - min(centres)
    queries = torch.arange(0, 2 * trained, 2, device=device)
    lookup = (queries[:, None] - torch.tensor(centres, device=device) - low) // step
    # float32 whatever the network computes in: the weights were trained with values rounded so
    distance = torch.arange(low, high + 1, step, device=device, dtype=torch.float32) / 2 / (pretrained - 1) * 8
    coords = distance.sign() * (distance.abs() + 1).log2() / 3
    return Axis(coords, lookup, actual, max(actual // ratio, 1))


def local_count(length: int, device: torch.device) -> Tensor:
    """Return, float32 [length], how many positions of the window around each position are inside the axis."""
    position = torch.arange(length, device=device)
    edge = WINDOW // 2
    return ((position + edge).clamp(max=length - 1) - (position - edge).clamp(min=0) + 1).float()


def make_positions(
    height: int,
    width: int,
    pretrained: int,
    ratio: int,
    trained: int | None = None,
    device: torch.device | None = None,
) -> Positions:
    """Measure a map for `AggregatedAttention`; the blocks of a stage share the result.

    Args:
        height: H of the map.
        width: W of the map.
        pretrained: Side, at least 2, of the square map of the first training, which sets the scale of distances.
        ratio: Pixels to one pooled key along each axis, at least 1. With 1 there is no window: all keys are seen once.
        trained: Side of the square map that biases are made for before they are resized to this one; None: they are
            made for this one.
        device: Of the tensors.

    Returns:
        The positions.
    """
    device = torch.device("cpu") if device is None else device
    rows, columns = (
        make_axis(length if trained is None else trained, length, pretrained, ratio, device)
        for length in (height, width)
    )
    keys = torch.full((), rows.keys * columns.keys, device=device, dtype=torch.float32)
    if ratio > 1:
        keys = keys + (local_count(height, device)[:, None] * local_count(width, device))[:, :, None, None]
    return Positions(rows, columns, keys.log())
