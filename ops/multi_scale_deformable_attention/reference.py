"""Multi-scale deformable attention in PyTorch: what every other backend must equal."""

from __future__ import annotations

from torch import Tensor

from foveal.ops.weighted_samples.reference import coordinate_dtype, weighted_samples_reference


def multi_scale_deformable_attention_reference(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute y[n, q, h] = sum over l, p of attention_weights[n, q, h, l, p] * value_l[n, location(n, q, h, l, p), h].

    Args:
        value: [N, S, heads, dim].
        spatial_shapes: Height and width of each level, int64 [L, 2].
        level_start_index: int64 [L].
        sampling_locations: (x, y) as shares of width and height, [N, Q, heads, L, P, 2].
        attention_weights: [N, Q, heads, L, P].

    Returns:
        [N, Q, heads * dim].
    """
    pixels = to_pixels(sampling_locations.to(coordinate_dtype(value)), spatial_shapes)
    weights = attention_weights.to(pixels.dtype)
    return weighted_samples_reference(value, spatial_shapes, level_start_index, pixels, weights).flatten(2)


def to_pixels(locations: Tensor, spatial_shapes: Tensor) -> Tensor:
    """Turn shares of width and height into numbers of pixels: 0 is the image's edge, half a pixel before the first.

    Args:
        locations: (x, y) [N, Q, heads, L, P, 2].
        spatial_shapes: Height and width of each level, [L, 2].
    """
    return locations * spatial_shapes.flip(-1).to(locations.dtype).unsqueeze(-2) - 0.5
