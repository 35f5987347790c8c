"""The public function: checks and defaults."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.ops.conv_arguments import check_fit, check_image, check_parameters, per_axis
from foveal.ops.dispatch import asked_for, in_pytorch
from foveal.ops.large_kernel_depthwise_conv2d.operator import NAME, compute, convolve
from foveal.ops.large_kernel_depthwise_conv2d.reference import large_kernel_depthwise_conv2d_reference

# Numbers in the weight above which PyTorch takes several times as long for its gradient in channels_last on a CPU
# (measured: 320 channels of 13 x 13 at 14 x 14 pixels, 26 ms contiguous and 82 ms channels_last).
CHANNELS_LAST_LIMIT = 32_768

# Kernels of at most this many pixels, on planes of fewer multiply-accumulates than this, are left to PyTorch on a CPU
# where nothing is to be trained: it is the faster one for 7 x 7 on 28 x 28 and 14 x 14, and the slower one for 13 x 13
# on 14 x 14 and for all gradients (benchmarks/results/ops_large_kernel_depthwise_conv2d_cpu.json).
SMALL_KERNEL = 81
SMALL_PLANE = 100_000


def large_kernel_depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    backend: str | None = None,
) -> Tensor:
    """Convolve every channel with a kernel of its own: ``F.conv2d`` with as many groups as channels.

    RepLKNet, arXiv:2203.06717; UniRepLKNet, arXiv:2311.15599.

    Args:
        x: Float [N, C, H, W].
        weight: [C, 1, kh, kw], kh and kw odd.
        bias: [C] or None.
        stride: At least 1; one number, or one for H and one for W. So are the next two.
        padding: Zeros on each side; None: dilation * (k // 2), which keeps H and W where the stride is 1.
        dilation: At least 1.
        backend: ``cuda``, ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest
            that can.

    Returns:
        [N, C, H', W'], in x's memory format; H' = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1, W' too.

    Raises:
        ValueError: If an argument is out of range or its shape, type or device does not fit the others'.
    """
    check_image(x)
    channels = x.shape[1]
    if weight.ndim != 4 or weight.shape[:2] != (channels, 1):
        raise ValueError(f"weight must be [{channels}, 1, kh, kw] for x {list(x.shape)}, got {list(weight.shape)}")
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise ValueError(f"weight must have an odd kh and kw, got shape {list(weight.shape)}")
    check_parameters(x, weight, bias, channels)
    strides = per_axis("stride", stride, 1)
    dilations = per_axis("dilation", dilation, 1)
    kernel = weight.shape[2], weight.shape[3]
    if padding is None:
        pads = dilations[0] * (kernel[0] // 2), dilations[1] * (kernel[1] // 2)
    else:
        pads = per_axis("padding", padding, 0)
    check_fit(x, kernel, pads, dilations)
    area = kernel[0] * kernel[1]
    small = x.device.type == "cpu" and area <= SMALL_KERNEL and x.shape[2] * x.shape[3] * area < SMALL_PLANE
    trains = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if (small and not trains and not asked_for(backend)) or in_pytorch(NAME, x, backend):
        if trains and x.device.type == "cpu" and weight.numel() > CHANNELS_LAST_LIMIT:
            x = x.contiguous()
        return large_kernel_depthwise_conv2d_reference(x, weight, bias, strides, pads, dilations)
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    numbers = list(strides), list(pads), list(dilations)
    if _is_plain(x, weight, bias):
        return compute(x, weight, bias, *numbers, backend)
    return convolve(x, weight, bias, *numbers, backend)


def _is_plain(*tensors: Tensor | None) -> bool:
    """Whether nobody looks on: the registration takes as long as a small map does, and is left out then."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    return not trains and all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in given)
