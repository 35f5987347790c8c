"""The public function: checks and defaults."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foveal.ops.conv_arguments import check_fit, check_image, check_parameters, per_axis
from foveal.ops.im2win_conv2d.reference import im2win_conv2d_reference


def im2win_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Tensor:
    """Convolve in window order: ``F.conv2d`` with dilation and groups of 1, in less memory than im2col.

    Im2win on SIMD architectures, arXiv:2306.14320; on GPU, arXiv:2306.14316.

    Args:
        x: Float [N, C, H, W].
        weight: [C', C, kh, kw].
        bias: [C'] or None.
        stride: At least 1; one number, or one for H and one for W. So is the next.
        padding: Zeros on each side, at least 0.

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
    return im2win_conv2d_reference(x, weight, bias, strides, pads)
