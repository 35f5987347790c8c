"""The choice of backend; the public operators above have checked the arguments."""

from __future__ import annotations

from torch import Tensor

from foveal.ops.dispatch import in_pytorch
from foveal.ops.weighted_samples.operator import sum_samples
from foveal.ops.weighted_samples.reference import weighted_samples_reference


def weighted_samples(
    value: Tensor, shapes: Tensor, starts: Tensor, pixels: Tensor, weights: Tensor, op: str, backend: str | None
) -> Tensor:
    """Sum, for every query and group, what is read at its points.

    Args:
        value: [N, S, G, D]; the S pixels are those of all levels, one level after the other, row by row.
        shapes: Height and width of each level, int64 [L, 2].
        starts: Number of each level's first pixel, int64 [L].
        pixels: Where to read, (x, y) in pixels, (0, 0) the middle of the first one, [N, Q, G, L, P, 2]. The image is
            zero outside. ``coordinate_dtype(value)``.
        weights: Factor of each point, [N, Q, G, L, P], the type of ``pixels``.
        op: Name of the public operator that this computes.
        backend: One that ``op`` has, or None.

    Returns:
        [N, Q, G, D], the type of ``value``.
    """
    if in_pytorch(op, value, backend):
        return weighted_samples_reference(value, shapes, starts, pixels, weights)
    return sum_samples(value, shapes, starts, pixels, weights, op, backend)
