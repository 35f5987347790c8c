"""The public function: what DCNv3 computes, under its name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foveal.ops.dcnv3.functional import add_taps


def dcnv4(
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
    """Add up, for every pixel and group of channels, what is read at K moved taps, with weights of any size.

    DCNv4, arXiv:2401.06197, https://github.com/OpenGVLab/DCNv4. The operator differs from DCNv3's in what it is given:
    the official one takes offsets and weights in one tensor, and the weights without softmax.

    Args:
        x: Float [N, H, W, C].
        offset: (x, y) in pixels for each group and tap, [N, H', W', groups * K * 2], taps as in ``dcnv3``.
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
    return add_taps("dcnv4", x, offset, weight, *window, groups, offset_scale, backend)
