"""The public function: checks and defaults."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foveal.ops.conv_arguments import check_fit, check_like, per_axis
from foveal.ops.dcnv3.reference import as_one_level
from foveal.ops.weighted_samples import weighted_samples


def dcnv3(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    offset_scale: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Add up, for every pixel and group of channels, what is read at K moved taps, weighted.

    InternImage, arXiv:2211.05778, https://github.com/OpenGVLab/InternImage (ops_dcnv3). The softmax over a group's
    weights is the layer's.

    Args:
        x: Float [N, H, W, C].
        offset: (x, y) in pixels for each group and tap, [N, H', W', groups * K * 2]. Taps go down the first column,
            then the second; K is kh * kw, or kh * kw - 1 without the middle tap (official ``remove_center``).
        weight: Factor of each group and tap, [N, H', W', groups * K].
        kernel_size: One number, or one for H and one for W; so are the next three.
        stride: At least 1.
        padding: Zeros on each side.
        dilation: At least 1.
        groups: Divides C.
        offset_scale: Factor of the offsets and of the taps' distance from the middle.
        backend: ``triton``, ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest
            that can.

    Returns:
        [N, H', W', C] with H' = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1, and W' likewise.

    Raises:
        ValueError: If an argument is out of range or its shape, type or device does not fit the others'; if the
            backend cannot compute them.
    """
    window = kernel_size, stride, padding, dilation
    return add_taps("dcnv3", x, offset, weight, *window, groups, offset_scale, backend)


def add_taps(
    op: str,
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
    offset_scale: float,
    backend: str | None,
) -> Tensor:
    """Check and compute, under the name of one of the operators that do this."""
    if x.ndim != 4:
        raise ValueError(f"x must be [N, H, W, C], got shape {list(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating-point, got {x.dtype}")
    if groups < 1 or x.shape[3] % groups:
        raise ValueError(f"groups must divide the {x.shape[3]} channels of x, got {groups}")
    kernel, strides = per_axis("kernel_size", kernel_size, 1), per_axis("stride", stride, 1)
    pads, steps = per_axis("padding", padding, 0), per_axis("dilation", dilation, 1)
    check_fit(x.movedim(3, 1), kernel, pads, steps)
    out = [
        (length + 2 * pad - step * (size - 1) - 1) // by + 1
        for length, pad, step, size, by in zip(x.shape[1:3], pads, steps, kernel, strides, strict=True)
    ]
    points = groups * kernel[0] * kernel[1]
    allowed = [points, points - groups] if kernel[0] % 2 and kernel[1] % 2 and points > groups else [points]
    if weight.ndim != 4 or list(weight.shape[:3]) != [x.shape[0], *out] or weight.shape[3] not in allowed:
        raise ValueError(
            f"weight must be {[x.shape[0], *out]} and {' or '.join(map(str, allowed))} taps of all groups, "
            f"got {list(weight.shape)}"
        )
    if list(offset.shape) != [*weight.shape[:3], 2 * weight.shape[3]]:
        raise ValueError(
            f"offset must be {[*weight.shape[:3], 2 * weight.shape[3]]}, twice weight's channels, "
            f"got {list(offset.shape)}"
        )
    for name, tensor in (("offset", offset), ("weight", weight)):
        check_like(name, tensor, x)
    value, shapes, starts, pixels = as_one_level(x, offset, kernel, strides, pads, steps, groups, offset_scale)
    weights = weight.to(pixels.dtype).reshape(pixels.shape[:-1])
    return weighted_samples(value, shapes, starts, pixels, weights, op, backend).reshape(*weight.shape[:3], x.shape[3])
