"""The registered operator: its kernel chooses the backend when it runs, so that a compiled graph has one node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.ops.deform_conv2d import chunks
from foveal.ops.deform_conv2d.reference import deform_conv2d_reference
from foveal.ops.dispatch import choose, cpp_why_not, recording, register, triton_why_not
from foveal.ops.weighted_samples.reference import coordinate_dtype

NAME = "deform_conv2d"

TYPES = torch.float32, torch.float64, torch.bfloat16, torch.float16

register(NAME, triton=triton_why_not(*TYPES), cpp=cpp_why_not(*TYPES))


@torch.library.custom_op("foveal::deform_conv2d", mutates_args=())
def convolve(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    window: list[int],
    backend: str | None,
) -> Tensor:
    """Compute ``foveal.ops.deform_conv2d`` without bias; ``window``: stride, padding and dilation, two numbers each."""
    name = choose(NAME, x, backend)
    with torch.autocast(x.device.type, enabled=False):
        if name == "reference":
            return _reference(x, offset, mask, weight, window).contiguous()
        y = chunks.forward(_kernels(name), _problem(x, offset, mask, weight, window))
        y = y.view(x.shape[0], *offset.shape[2:], weight.shape[0])
        return y.permute(0, 3, 1, 2).to(x.dtype).contiguous()


@convolve.register_fake
def _(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:])


@torch.library.custom_op("foveal::deform_conv2d_backward", mutates_args=())
def convolve_backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    window: list[int],
    backend: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for x, offset, mask, [0] without one, and weight."""
    name = choose(NAME, x, backend)
    with torch.autocast(x.device.type, enabled=False):
        if name == "reference":
            return _reference_backward(grad, x, offset, mask, weight, window)
        problem = _problem(x, offset, mask, weight, window)
        groups, outputs, _ = problem.filters.shape
        rows = grad.to(problem.x.dtype).permute(0, 2, 3, 1).reshape(-1, groups, outputs)
        d_x, d_offset, d_mask, d_filters = chunks.backward(_kernels(name), problem, rows)
    d_weight = d_filters.view(groups, outputs, -1, weight.shape[1]).transpose(2, 3)
    return (
        d_x.permute(0, 3, 1, 2).to(x.dtype).contiguous(),
        d_offset.to(offset.dtype),
        d_mask.to(x.dtype if mask is None else mask.dtype),
        d_weight.reshape(weight.shape).to(weight.dtype).contiguous(),
    )


@convolve_backward.register_fake
def _(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d_mask = x.new_empty(0) if mask is None else mask.new_empty(mask.shape)
    return x.new_empty(x.shape), offset.new_empty(offset.shape), d_mask, weight.new_empty(weight.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, offset, mask, weight, ctx.window, ctx.backend = inputs
    ctx.save_for_backward(x, offset, mask, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, offset, mask, weight = ctx.saved_tensors
    d_x, d_offset, d_mask, d_weight = torch.ops.foveal.deform_conv2d_backward(
        grad, x, offset, mask, weight, ctx.window, ctx.backend
    )
    return d_x, d_offset, None if mask is None else d_mask, d_weight, None, None


convolve.register_autograd(_backward, setup_context=_setup)


def _kernels(name: str) -> chunks.Kernels:
    if name == "triton":
        from foveal.ops.deform_conv2d import triton  # the package may be missing

        return chunks.Kernels(triton.forward, triton.backward)
    library = torch.ops.foveal_cpp
    return chunks.Kernels(library.deform_columns_forward, library.deform_columns_backward)


def _problem(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, window: list[int]) -> chunks.Problem:
    dtype = coordinate_dtype(x)
    groups = x.shape[1] // weight.shape[1]
    filters = weight.to(dtype).flatten(2).transpose(1, 2).reshape(groups, weight.shape[0] // groups, -1)
    mask = x.new_empty(0, dtype=dtype) if mask is None else mask.to(dtype).contiguous()
    rows = x.to(dtype).permute(0, 2, 3, 1).contiguous()
    sizes = torch.tensor([*weight.shape[2:], *window])
    return chunks.Problem(rows, offset.to(dtype).contiguous(), mask, filters, sizes)


def _reference(x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, window: list[int]) -> Tensor:
    stride, padding, dilation = ((window[i], window[i + 1]) for i in (0, 2, 4))
    return deform_conv2d_reference(x, offset, weight, None, stride, padding, dilation, mask)


def _reference_backward(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, window: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Differentiate the reference, for compiled graphs where no kernel can run."""
    inputs = [t.detach().requires_grad_() for t in (x, offset, weight, mask) if t is not None]
    with recording():
        out = _reference(inputs[0], inputs[1], inputs[3] if mask is not None else None, inputs[2], window)
    d_x, d_offset, d_weight, *rest = (t.contiguous() for t in torch.autograd.grad(out, inputs, grad))
    return d_x, d_offset, rest[0] if rest else x.new_empty(0), d_weight
