"""The registered operator under deformable attention, DCNv3 and DCNv4; its kernel chooses the backend when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from foveal.ops.dispatch import choose, cpp_why_not, recording, register, triton_why_not
from foveal.ops.weighted_samples.reference import weighted_samples_reference

TYPES = torch.float32, torch.float64, torch.bfloat16, torch.float16

for _name in ("dcnv3", "dcnv4", "multi_scale_deformable_attention"):
    register(_name, triton=triton_why_not(*TYPES), cpp=cpp_why_not(*TYPES))


@torch.library.custom_op("foveal::weighted_samples", mutates_args=())
def sum_samples(
    value: Tensor, shapes: Tensor, starts: Tensor, pixels: Tensor, weights: Tensor, op: str, backend: str | None
) -> Tensor:
    """Compute ``foveal.ops.weighted_samples`` for the public operator ``op``; gradients are registered below."""
    name = choose(op, value, backend)
    if name == "reference":
        return weighted_samples_reference(value, shapes, starts, pixels, weights).contiguous()
    tensors = _for_kernel(value, shapes, starts, pixels, weights)
    out = tensors[0].new_empty(value.shape[0], pixels.shape[1], *value.shape[2:])
    _kernels(name)[0](*tensors, out)
    return out.to(value.dtype)


@sum_samples.register_fake
def _(value: Tensor, shapes: Tensor, starts: Tensor, pixels: Tensor, *_: Any) -> Tensor:
    return value.new_empty(value.shape[0], pixels.shape[1], *value.shape[2:])


@torch.library.custom_op("foveal::weighted_samples_backward", mutates_args=())
def sum_samples_backward(
    grad: Tensor,
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    pixels: Tensor,
    weights: Tensor,
    op: str,
    backend: str | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for the values, the pixels and the weights."""
    name = choose(op, value, backend)
    if name == "reference":
        inputs = [x.detach().requires_grad_() for x in (value, pixels, weights)]
        with recording():
            out = weighted_samples_reference(inputs[0], shapes, starts, inputs[1], inputs[2])
        d_value, d_pixels, d_weights = (x.contiguous() for x in torch.autograd.grad(out, inputs, grad))
        return d_value, d_pixels, d_weights
    tensors = _for_kernel(value, shapes, starts, pixels, weights)
    d_value = torch.zeros_like(tensors[0])
    d_pixels, d_weights = torch.empty_like(tensors[3]), torch.empty_like(tensors[4])
    grad = grad.to(pixels.dtype).contiguous()
    _kernels(name)[1](grad, *tensors, d_value, d_pixels, d_weights)
    return d_value.to(value.dtype), d_pixels, d_weights


@sum_samples_backward.register_fake
def _(
    grad: Tensor, value: Tensor, shapes: Tensor, starts: Tensor, pixels: Tensor, weights: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    d_value, d_pixels, d_weights = (x.new_empty(x.shape) for x in (value, pixels, weights))
    return d_value, d_pixels, d_weights


def _kernels(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return a backend's two functions, which write into their last arguments."""
    if name == "triton":
        from foveal.ops.weighted_samples import triton  # the package may be missing

        return triton.forward, triton.backward
    return torch.ops.foveal_cpp.weighted_samples_forward, torch.ops.foveal_cpp.weighted_samples_backward


def _for_kernel(value: Tensor, *others: Tensor) -> list[Tensor]:
    """As the kernels read them: contiguous, and the values in the type of the coordinates."""
    return [value.to(others[2].dtype).contiguous(), *(x.contiguous() for x in others)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.op, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    d_value, d_pixels, d_weights = torch.ops.foveal.weighted_samples_backward(
        grad, *ctx.saved_tensors, ctx.op, ctx.backend
    )
    return d_value, None, None, d_pixels, d_weights, None, None


sum_samples.register_autograd(_backward, setup_context=_setup)
