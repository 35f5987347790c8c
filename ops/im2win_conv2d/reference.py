"""Convolution in window order in PyTorch: what every other backend must equal."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from foveal.ops.conv_arguments import Pair


def im2win(x: Tensor, kernel_height: int, stride: int, padding: Pair) -> Tensor:
    """Store, for every row of the result, the strip of the image that its windows lie in, column after column.

    A window of kernel_height x kw pixels is then a contiguous piece of kw * kernel_height * C numbers, and neighbouring
    windows overlap in memory as they do in the image: an input row is stored kernel_height / stride times, where im2col
    stores it kw / stride times as often again. Im2win, arXiv:2306.14320; the channels innermost as in arXiv:2408.00278.

    Args:
        x: [N, C, H, W].
        kernel_height: kh.
        stride: Along H.
        padding: Zeros on each side of H and of W.

    Returns:
        [N, H', (W + 2 * padding) * kh * C] with H' = (H + 2 * padding - kh) // stride + 1.
    """
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    return padded.unfold(2, kernel_height, stride).permute(0, 2, 3, 4, 1).flatten(2)


def im2win_conv2d_reference(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """Compute conv2d as a product of the windows that :func:`im2win` stores with the kernels in the same order.

    Args:
        x: [N, C, H, W].
        weight: [C', C, kh, kw].
        bias: [C'] or None.
        stride: For H and W.
        padding: For H and W.

    Returns:
        [N, C', H', W'] with H' = (H + 2 * padding - kh) // stride + 1, and W' likewise.
    """
    channels, height, width = weight.shape[1:]
    column = height * channels
    windows = im2win(x, height, stride[0], padding).unfold(2, width * column, stride[1] * column)
    y = windows @ weight.permute(3, 2, 1, 0).flatten(0, 2)
    if bias is not None:
        y = y + bias
    return y.permute(0, 3, 1, 2)
