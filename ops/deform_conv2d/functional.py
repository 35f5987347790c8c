"""The public function: checks and defaults."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foveal.ops.conv_arguments import check_fit, check_image, check_like, check_parameters, per_axis
from foveal.ops.deform_conv2d.operator import NAME, convolve
from foveal.ops.deform_conv2d.reference import deform_conv2d_reference
from foveal.ops.dispatch import in_pytorch


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Convolve, each tap reading the image at its own place plus an offset, times a mask.

    Deformable ConvNets, arXiv:1703.06211 (without mask), and v2, arXiv:1811.11168; shapes and values are those of
    ``torchvision.ops.deform_conv2d``.

    Args:
        x: Float [N, C, H, W].
        offset: (y, x) in pixels for each tap, row by row, [N, 2 * offset groups * kh * kw, H', W']; each offset group
            moves C / offset groups channels.
        weight: [O, C / groups, kh, kw].
        bias: [O] or None.
        stride: At least 1; one number, or one for H and one for W. So are the next two.
        padding: Zeros on each side.
        dilation: At least 1.
        mask: Factor for each tap, [N, offset groups * kh * kw, H', W']; None: 1.
        backend: ``triton``, ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest
            that can.

    Returns:
        [N, O, H', W'] with H' = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1, and W' likewise.

    Raises:
        ValueError: If an argument is out of range or its shape, type or device does not fit the others'; if the
            backend cannot compute them.
    """
    check_image(x)
    batch, channels = x.shape[:2]
    if weight.ndim != 4 or 0 in weight.shape or channels % weight.shape[1]:
        raise ValueError(
            f"weight must be [O, C / groups, kh, kw] for the {channels} channels of x, got {list(weight.shape)}"
        )
    groups = channels // weight.shape[1]
    if groups == 0 or weight.shape[0] % groups:
        raise ValueError(f"weight must have a multiple of its {groups} groups as outputs, got {list(weight.shape)}")
    check_parameters(x, weight, bias, weight.shape[0])
    for name, tensor in (("offset", offset), ("mask", mask)):
        check_like(name, tensor, x)
    strides, pads, steps = (
        per_axis("stride", stride, 1),
        per_axis("padding", padding, 0),
        per_axis("dilation", dilation, 1),
    )
    kernel = weight.shape[2:]
    check_fit(x, kernel, pads, steps)
    out = [
        (length + 2 * pad - step * (size - 1) - 1) // by + 1
        for length, pad, step, size, by in zip(x.shape[2:], pads, steps, kernel, strides, strict=True)
    ]
    taps = kernel[0] * kernel[1]
    offset_groups = offset.shape[1] // (2 * taps) if offset.ndim == 4 else 0
    if offset_groups == 0 or channels % offset_groups or list(offset.shape) != [batch, 2 * offset_groups * taps, *out]:
        raise ValueError(
            f"offset must be [{batch}, {2 * taps} * offset groups, {out[0]}, {out[1]}], the groups dividing {channels} "
            f"channels, got {list(offset.shape)}"
        )
    if mask is not None and list(mask.shape) != [batch, offset_groups * taps, *out]:
        wanted = [batch, offset_groups * taps, *out]
        raise ValueError(f"mask must be {wanted}, half of offset's channels, got {list(mask.shape)}")
    # autocast alone lets them differ
    weight, bias, mask = weight.to(x.dtype), _like(bias, x), _like(mask, x)
    if in_pytorch(NAME, x, backend):
        return deform_conv2d_reference(x, offset, weight, bias, strides, pads, steps, mask)
    y = convolve(x, offset, mask, weight, [*strides, *pads, *steps], backend)
    return y if bias is None else y + bias.view(-1, 1, 1)


def _like(tensor: Tensor | None, x: Tensor) -> Tensor | None:
    return None if tensor is None else tensor.to(x.dtype)
