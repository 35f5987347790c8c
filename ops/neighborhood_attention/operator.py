"""The registered operator: its kernel chooses the backend when it runs, so that a compiled graph has one node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.ops.dispatch import choose, cpp_why_not, recording, register, triton_why_not
from foveal.ops.neighborhood_attention.reference import neighborhood_attention_reference

NAME = "neighborhood_attention"

register(
    NAME,
    triton=triton_why_not(torch.float32, torch.bfloat16, torch.float16),
    cpp=cpp_why_not(torch.float32, torch.float64, torch.bfloat16),
)


@torch.library.custom_op("foveal::neighborhood_attention", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rpb: Tensor | None,
    kernel_size: list[int],
    dilation: list[int],
    scale: float,
    backend: str | None,
) -> Tensor:
    """Compute `foveal.ops.neighborhood_attention` on two axes; gradients are registered below."""
    chosen = choose(NAME, q, backend)
    if chosen == "reference" or q.numel() == 0:
        return neighborhood_attention_reference(q, k, v, _pair(kernel_size), _pair(dilation), rpb, scale).contiguous()
    if chosen == "triton":
        from foveal.ops.neighborhood_attention import triton  # an optional package

        return triton.forward(q, k, v, rpb, kernel_size, dilation, scale)[0]
    kernels = torch.ops.foveal_cpp
    tensors = [_for_kernel(x) for x in (q, k, v, q.new_empty(0) if rpb is None else rpb)]
    out = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
    kernels.neighborhood_attention_forward(*tensors, *kernel_size, *dilation, scale, out)
    return out.to(q.dtype)


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, rpb: Tensor | None, *_: Any) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@torch.library.custom_op("foveal::neighborhood_attention_backward", mutates_args=())
def attend_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rpb: Tensor | None,
    kernel_size: list[int],
    dilation: list[int],
    scale: float,
    backend: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for q, k, v and the bias, [0] without one."""
    chosen = choose(NAME, q, backend)
    if chosen == "reference" or q.numel() == 0:
        return _reference_backward(grad, q, k, v, rpb, kernel_size, dilation, scale)
    if chosen == "triton":
        from foveal.ops.neighborhood_attention import triton  # an optional package

        return triton.backward(grad, q, k, v, rpb, kernel_size, dilation, scale)
    tensors = [_for_kernel(x) for x in (grad, q, k, v, q.new_empty(0) if rpb is None else rpb)]
    grads = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors[1:4]]
    groups = q.shape[0] * q.shape[3] * dilation[0] * dilation[1]
    sides = [2 * size - 1 for size in kernel_size]
    partial = grads[0].new_zeros((groups, *sides) if rpb is not None else 0)
    torch.ops.foveal_cpp.neighborhood_attention_backward(*tensors, *kernel_size, *dilation, scale, *grads, partial)
    if rpb is not None:
        partial = partial.view(q.shape[0], q.shape[3], -1, *sides).sum((0, 2))
    d_q, d_k, d_v, d_rpb = (x.to(q.dtype) for x in (*grads, partial))
    return d_q, d_k, d_v, d_rpb


@attend_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, rpb: Tensor | None, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    d_q, d_k, d_v = like
    return d_q, d_k, d_v, q.new_empty(0) if rpb is None else torch.empty_like(rpb)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    q, k, v, rpb, *ctx.numbers = inputs
    ctx.save_for_backward(q, k, v, rpb)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, rpb = ctx.saved_tensors
    d_q, d_k, d_v, d_rpb = torch.ops.foveal.neighborhood_attention_backward(grad, q, k, v, rpb, *ctx.numbers)
    return d_q, d_k, d_v, None if rpb is None else d_rpb, None, None, None, None


attend.register_autograd(_backward, setup_context=_setup)


def _reference_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rpb: Tensor | None,
    kernel_size: list[int],
    dilation: list[int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Differentiate the reference, for compiled graphs where no kernel can run."""
    inputs = [x.detach().requires_grad_() for x in (q, k, v, rpb) if x is not None]
    with recording():
        bias = inputs[3] if rpb is not None else None
        out = neighborhood_attention_reference(
            inputs[0], inputs[1], inputs[2], _pair(kernel_size), _pair(dilation), bias, scale
        )
    d_q, d_k, d_v, *rest = (x.contiguous() for x in torch.autograd.grad(out, inputs, grad))
    return d_q, d_k, d_v, rest[0] if rest else q.new_empty(0)


def _for_kernel(x: Tensor) -> Tensor:
    """As the C++ kernel reads it: float32 or float64, the last axis dense."""
    x = x.float() if x.dtype == torch.bfloat16 else x
    return x if x.stride(-1) == 1 and x.ndim == 5 else x.contiguous()


def _pair(numbers: list[int]) -> tuple[int, int]:
    return numbers[0], numbers[1]
