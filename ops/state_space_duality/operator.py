"""The registered operator: weights by a kernel, products with them by PyTorch; in Triton both in one kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.ops.dispatch import choose, cpp_why_not, recording, register, triton_why_not
from foveal.ops.state_space_duality.reference import ssd_hidden_state_reference

NAME = "state_space_duality"

register(
    NAME,
    triton=triton_why_not(torch.float32, torch.bfloat16, torch.float16),
    cpp=cpp_why_not(torch.float32, torch.float64),
)


@torch.library.custom_op("foveal::state_space_duality", mutates_args=())
def gather(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, backend: str | None) -> Tensor:
    """Compute `foveal.ops.ssd_hidden_state`. The kernels leave A out: a softmax does not feel what is added to all."""
    chosen = choose(NAME, x, backend)
    with torch.autocast(x.device.type, enabled=False):
        if chosen == "reference" or not x.numel() or not B.numel():
            return ssd_hidden_state_reference(x, dt, A, B).contiguous()
        if chosen == "triton":
            from foveal.ops.state_space_duality import triton as kernels

            return kernels.forward(x.contiguous(), dt.contiguous(), B.contiguous())
        weights = torch.empty_like(B, memory_format=torch.contiguous_format)
        torch.ops.foveal_cpp.state_space_duality_forward(_rows(dt), _rows(B), weights)
        return weights @ x


@gather.register_fake
def _(x: Tensor, dt: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape[0], dt.shape[1], x.shape[2])


@torch.library.custom_op("foveal::state_space_duality_backward", mutates_args=())
def gather_backward(
    grad: Tensor, h: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for x, dt, A and B; ``h`` is the result."""
    chosen = choose(NAME, x, backend)
    with torch.autocast(x.device.type, enabled=False):
        if chosen == "reference" or not x.numel() or not B.numel():
            inputs = [y.detach().requires_grad_() for y in (x, dt, A, B)]
            with recording():
                out = ssd_hidden_state_reference(*inputs)
            d_x, d_dt, d_a, d_b = (y.contiguous() for y in torch.autograd.grad(out, inputs, grad))
            return d_x, d_dt, d_a, d_b
        if chosen == "triton":
            from foveal.ops.state_space_duality import triton as kernels

            tensors = [y.contiguous() for y in (grad, h, x, dt, B)]
            d_x, d_dt, d_b = kernels.backward(*tensors)
        else:
            d_b = grad @ x.transpose(1, 2)  # first that of the weights
            d_dt, weights = torch.empty_like(d_b), torch.empty_like(d_b)
            torch.ops.foveal_cpp.state_space_duality_backward(_rows(dt), _rows(B), d_b, d_dt, weights)
            d_x = weights.transpose(1, 2) @ grad
        return d_x, d_dt, torch.zeros_like(A, memory_format=torch.contiguous_format), d_b


@gather_backward.register_fake
def _(
    grad: Tensor, h: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d_x, d_dt, d_a, d_b = (torch.empty_like(y, memory_format=torch.contiguous_format) for y in (x, dt, A, B))
    return d_x, d_dt, d_a, d_b


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*torch.ops.foveal.state_space_duality_backward(grad, *ctx.saved_tensors, ctx.backend), None)


gather.register_autograd(_backward, setup_context=_setup)


def _rows(x: Tensor) -> Tensor:
    """As the C++ kernel reads it: the positions side by side, the rest anywhere."""
    return x if x.stride(2) == 1 else x.contiguous()
