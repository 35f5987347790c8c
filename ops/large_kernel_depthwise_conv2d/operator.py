"""The registered operator: its kernel chooses the backend when it runs, so that a compiled graph has one node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.ops.conv_arguments import memory_format_of
from foveal.ops.dispatch import choose, cpp_why_not, cuda_why_not, register
from foveal.ops.large_kernel_depthwise_conv2d.reference import large_kernel_depthwise_conv2d_reference

NAME = "large_kernel_depthwise_conv2d"

# Parts of a batch whose weight gradients the CUDA kernel sums side by side
PARTS = 16

register(
    NAME,
    cuda=cuda_why_not(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    cpp=cpp_why_not(torch.float32, torch.float64, torch.bfloat16),
)


def compute(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    backend: str | None,
) -> Tensor:
    """Compute `foveal.ops.large_kernel_depthwise_conv2d` without gradients; the result has x's memory format."""
    chosen = choose(NAME, x, backend)
    if chosen == "reference":
        pairs = ((numbers[0], numbers[1]) for numbers in (stride, padding, dilation))
        y = large_kernel_depthwise_conv2d_reference(x, weight, bias, *pairs)
        return y.contiguous(memory_format=memory_format_of(x))
    y = _new_output(x, weight, stride, padding, dilation)
    shift = x.new_empty(0) if bias is None else bias
    return _convolve(chosen, x, weight, shift, stride, dilation, padding, [1, 1], False, y)


convolve = torch.library.custom_op("foveal::large_kernel_depthwise_conv2d", compute, mutates_args=())


@convolve.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int], *_: Any
) -> Tensor:
    return _new_output(x, weight, stride, padding, dilation)


@torch.library.custom_op("foveal::large_kernel_depthwise_conv2d_backward", mutates_args=())
def convolve_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    backend: str | None,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    """Gradients for x and for the weight, [0] where not wanted."""
    chosen = choose(NAME, x, backend)
    if chosen == "reference":
        mask = [*wanted, False]
        d_x, d_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, dilation, False, [0, 0], x.shape[1], mask
        )
        return (
            d_x.contiguous(memory_format=memory_format_of(x)) if wanted[0] else x.new_empty(0),
            d_weight.contiguous() if wanted[1] else x.new_empty(0),
        )
    nothing = x.new_empty(0)
    d_x = d_weight = nothing
    if wanted[0]:
        # The turned kernel over gradients that stand a stride apart
        outer = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
        d_x = torch.empty_like(x, memory_format=memory_format_of(x))
        d_x = _convolve(chosen, grad, weight.flip(2, 3), nothing, [1, 1], dilation, outer, stride, False, d_x)
    if wanted[1]:
        # The gradient as a kernel: the taps of the weight are its places, a dilation apart, its own taps a stride apart
        d_weight = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        turned = d_weight.transpose(0, 1)  # [1, C, kh, kw]
        d_weight = _convolve(chosen, x, grad, nothing, dilation, stride, padding, [1, 1], True, turned).transpose(0, 1)
    return d_x, d_weight.contiguous() if wanted[1] else x.new_empty(0)


@convolve_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    backend: str | None,
    wanted: list[bool],
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(x, memory_format=memory_format_of(x)) if wanted[0] else x.new_empty(0),
        torch.empty_like(weight, memory_format=torch.contiguous_format) if wanted[1] else x.new_empty(0),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, *ctx.numbers = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:2])
    d_x = d_weight = d_bias = None
    if any(wanted):
        d_x, d_weight = convolve_backward(grad, x, weight, *ctx.numbers, wanted)
    if ctx.needs_input_grad[2]:
        d_bias = grad.sum((0, 2, 3))
    return d_x if wanted[0] else None, d_weight if wanted[1] else None, d_bias, None, None, None, None


convolve.register_autograd(_backward, setup_context=_setup)


def _convolve(
    chosen: str,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    stride: list[int],
    dilation: list[int],
    padding: list[int],
    spread: list[int],
    of_all_images: bool,
    out: Tensor,
) -> Tensor:
    """Run the chosen kernel into ``out``; types that the C++ kernel does not have pass through float32."""
    if not x.numel() or not out.numel():
        return out
    kernel = kernel if of_all_images else kernel.transpose(0, 1)  # [1, C, kh, kw]
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    if chosen == "cuda":
        result = out
        if of_all_images:
            result = out.new_empty((min(PARTS, x.shape[0]), *out.shape[1:]), dtype=exact)
        torch.ops.foveal_cuda.depthwise_conv2d(x, kernel, bias, *stride, *dilation, *padding, *spread, result)
        return result.sum(0, keepdim=True).to(out.dtype) if of_all_images else result
    result = out.to(exact)
    torch.ops.foveal_cpp.depthwise_conv2d(
        x.to(exact), kernel.to(exact), bias.to(exact).contiguous(), *stride, *dilation, *padding, *spread,
        of_all_images, result,
    )  # fmt: skip
    return result.to(out.dtype)


def _new_output(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    sizes = [
        (length + 2 * p - d * (k - 1) - 1) // s + 1
        for length, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    ]
    return torch.empty((*x.shape[:2], *sizes), dtype=x.dtype, device=x.device, memory_format=memory_format_of(x))
