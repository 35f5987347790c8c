"""The public function: checks and types."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.ops.multi_scale_deformable_attention.reference import to_pixels
from foveal.ops.weighted_samples import weighted_samples
from foveal.ops.weighted_samples.reference import coordinate_dtype

NAME = "multi_scale_deformable_attention"


def multi_scale_deformable_attention(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    backend: str | None = None,
) -> Tensor:
    """Sum, for every query and head, the values at P points of each of L levels, with weights.

    Deformable DETR, arXiv:2010.04159, https://github.com/fundamentalvision/Deformable-DETR.

    Args:
        value: Values of all levels, one level after the other, each row by row, [N, S, heads, dim].
        spatial_shapes: Height and width of each level, int64 [L, 2]; together S pixels.
        level_start_index: Number of each level's first pixel, int64 [L].
        sampling_locations: (x, y) of the points as shares of width and height, [N, Q, heads, L, P, 2]: (0, 0) is the
            level's upper left edge, (1, 1) the lower right one. Between pixels values are interpolated bilinearly,
            outside they are zero.
        attention_weights: Factors, usually with the sum 1 over L and P, [N, Q, heads, L, P].
        backend: ``triton``, ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest
            that can.

    Returns:
        [N, Q, heads * dim], the type of ``value``.

    Raises:
        ValueError: If the shape, type or device of an argument does not fit the others'; if the
            backend cannot compute them.
    """
    if value.ndim != 4:
        raise ValueError(f"value must be [N, S, heads, dim], got shape {list(value.shape)}")
    if not value.is_floating_point():
        raise ValueError(f"value must be floating-point, got {value.dtype}")
    batch, size, heads, _ = value.shape
    if spatial_shapes.ndim != 2 or spatial_shapes.shape[1] != 2:
        raise ValueError(f"spatial_shapes must be [L, 2], got shape {list(spatial_shapes.shape)}")
    levels = spatial_shapes.shape[0]
    if level_start_index.shape != (levels,):
        raise ValueError(f"level_start_index must be [{levels}], got shape {list(level_start_index.shape)}")
    if sampling_locations.ndim != 6 or _fixed(sampling_locations) != (batch, heads, levels, 2):
        raise ValueError(
            f"sampling_locations must be [{batch}, Q, {heads}, {levels}, P, 2] for value {list(value.shape)} and "
            f"{levels} levels, got {list(sampling_locations.shape)}"
        )
    if attention_weights.shape != sampling_locations.shape[:-1]:
        raise ValueError(
            f"attention_weights must be {list(sampling_locations.shape[:-1])}, as sampling_locations, "
            f"got {list(attention_weights.shape)}"
        )
    for name, x in (("sampling_locations", sampling_locations), ("attention_weights", attention_weights)):
        if x.dtype != value.dtype and not torch.is_autocast_enabled(value.device.type):
            raise ValueError(f"{name} must have value's dtype {value.dtype}, got {x.dtype}")
    for name, x in (
        ("spatial_shapes", spatial_shapes),
        ("level_start_index", level_start_index),
        ("sampling_locations", sampling_locations),
        ("attention_weights", attention_weights),
    ):
        if x.device != value.device:
            raise ValueError(f"{name} must be on value's device {value.device}, got {x.device}")
    for name, x in (("spatial_shapes", spatial_shapes), ("level_start_index", level_start_index)):
        if x.dtype != torch.int64:
            raise ValueError(f"{name} must be torch.int64, got {x.dtype}")
    # reading them on a GPU would wait for it, and a graph has no values yet
    if value.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing():
        _check_levels(spatial_shapes.tolist(), level_start_index.tolist(), size)
    pixels = to_pixels(sampling_locations.to(coordinate_dtype(value)), spatial_shapes)
    weights = attention_weights.to(pixels.dtype)
    levels_of = spatial_shapes, level_start_index
    return weighted_samples(value, *levels_of, pixels, weights, NAME, backend).flatten(2)


def _fixed(locations: Tensor) -> tuple[int, ...]:
    """The sizes that other arguments settle."""
    batch, _, heads, levels, _, pair = locations.shape
    return batch, heads, levels, pair


def _check_levels(shapes: list[list[int]], starts: list[int], size: int) -> None:
    """Refuse levels that are not the S pixels of the values."""
    start = 0
    for number, (height, width) in enumerate(shapes):
        if starts[number] != start:
            raise ValueError(f"level_start_index must be {start} at {number}, after {shapes[:number]}, got {starts}")
        start += height * width
    if start != size:
        raise ValueError(f"spatial_shapes must have the {size} pixels of value together, got {shapes} with {start}")
