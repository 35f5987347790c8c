"""The registered operator: its kernel chooses the backend when it runs, so that a compiled graph has one node."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.ops.conv_arguments import memory_format_of
from foveal.ops.dispatch import choose, cpp_why_not, cuda_why_not, register
from foveal.ops.im2win_conv2d.reference import im2win_conv2d_reference

NAME = "im2win_conv2d"
TILE = 64  # filters that the CUDA kernel takes together

register(
    NAME,
    cuda=cuda_why_not(torch.float32),
    cpp=cpp_why_not(torch.float32, torch.float64, torch.bfloat16),
)


@torch.library.custom_op("foveal::im2win_conv2d", mutates_args=())
def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], backend: str | None
) -> Tensor:
    """Compute `foveal.ops.im2win_conv2d`; the result has x's memory format, gradients are registered below."""
    chosen = choose(NAME, x, backend)
    if chosen == "reference":
        y = im2win_conv2d_reference(x, weight, bias, (stride[0], stride[1]), (padding[0], padding[1]))
        return y.contiguous(memory_format=memory_format_of(x))
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    result = _new_output(x.to(exact), weight, stride, padding)
    if result.numel():
        shift = result.new_empty(0) if bias is None else bias.to(exact).contiguous()
        if chosen == "cuda":
            sizes = *weight.shape[2:], *stride, *padding
            kernels = weight.permute(3, 2, 1, 0).flatten(0, 2)  # [kw * kh * C, C']
            kernels = F.pad(kernels, (0, -weight.shape[0] % TILE)).contiguous()
            strips = x.new_empty(x.shape[0], result.shape[2], x.shape[3] + 2 * padding[1], weight.shape[2], x.shape[1])
            torch.ops.foveal_cuda.im2win_conv2d(x, kernels, shift, *sizes, strips, result)
        else:
            torch.ops.foveal_cpp.im2win_conv2d(x.to(exact), weight.to(exact), shift, *stride, *padding, result)
    return result.to(x.dtype)


@convolve.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], *_: Any) -> Tensor:
    return _new_output(x, weight, stride, padding)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.stride, ctx.padding, _ = inputs
    ctx.save_for_backward(x, weight)
    ctx.bias = None if bias is None else list(bias.shape)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """PyTorch's own gradients: the papers have none, and window order saves nothing there."""
    x, weight = ctx.saved_tensors
    numbers = ctx.stride, ctx.padding, [1, 1], False, [0, 0], 1, list(ctx.needs_input_grad[:3])
    return *torch.ops.aten.convolution_backward(grad, x, weight, ctx.bias, *numbers), None, None, None


convolve.register_autograd(_backward, setup_context=_setup)


def _new_output(x: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    sizes = [
        (length + 2 * p - k) // s + 1
        for length, k, s, p in zip(x.shape[2:], weight.shape[2:], stride, padding, strict=True)
    ]
    shape = (x.shape[0], weight.shape[0], *sizes)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format_of(x))
