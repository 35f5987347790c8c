"""The public function: checks and defaults."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.ops.conv_arguments import check_fit, check_image, check_parameters, per_axis
from foveal.ops.dispatch import in_pytorch
from foveal.ops.im2win_conv2d.operator import NAME, convolve
from foveal.ops.im2win_conv2d.reference import im2win_conv2d_reference


def im2win_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    backend: str | None = None,
) -> Tensor:
    """Convolve in window order: ``F.conv2d`` with dilation and groups of 1, in less memory than im2col.

    Im2win on SIMD architectures, arXiv:2306.14320; on GPU, arXiv:2306.14316.

    Args:
        x: Float [N, C, H, W].
        weight: [C', C, kh, kw].
        bias: [C'] or None.
        stride: At least 1; one number, or one for H and one for W. So is the next.
        padding: Zeros on each side, at least 0.
        backend: ``cuda`` (float32), ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the
            fastest that can.

    Returns:
        [N, C', H', W'] with H' = (H + 2 * padding - kh) // stride + 1, and W' likewise.

    Raises:
        ValueError: If an argument is out of range or its shape, type or device does not fit the others'.
    """
    check_image(x)
    channels = x.shape[1]
    if weight.ndim != 4 or weight.shape[1] != channels:
        raise ValueError(f"weight must be [C', {channels}, kh, kw] for x {list(x.shape)}, got {list(weight.shape)}")
    check_parameters(x, weight, bias, weight.shape[0])
    strides = per_axis("stride", stride, 1)
    pads = per_axis("padding", padding, 0)
    check_fit(x, weight.shape[2:], pads, (1, 1))
    if in_pytorch(NAME, x, backend):
        return im2win_conv2d_reference(x, weight, bias, strides, pads)
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return convolve(x, weight, bias, list(strides), list(pads), backend)
