"""Large-kernel depthwise convolution in PyTorch: what every other backend must equal."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from foveal.ops.conv_arguments import Pair


def large_kernel_depthwise_conv2d_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Compute y[n, c, i, j] = bias[c] + sum over a, b of weight[c, 0, a, b] * x[n, c, s*i - p + d*a, s*j - p + d*b].

    ``x`` is zero outside the image; s, p and d are the axis's stride, padding and dilation.

    Args:
        x: [N, C, H, W].
        weight: [C, 1, kh, kw].
        bias: [C] or None.
        stride: For H and W.
        padding: For H and W.
        dilation: For H and W.

    Returns:
        [N, C, H', W'] with H' = (H + 2p - d * (kh - 1) - 1) // s + 1, and W' likewise.
    """
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups=x.shape[1])
