"""The registered operator: its kernel chooses the backend when it runs, so that a compiled graph has one node."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foveal.ops.aggregated_attention.reference import aggregated_attention_reference
from foveal.ops.dispatch import choose, cpp_why_not, recording, register, triton_why_not

NAME = "aggregated_attention"

register(
    NAME,
    triton=triton_why_not(torch.float32, torch.bfloat16, torch.float16),
    cpp=cpp_why_not(torch.float32, torch.float64, torch.bfloat16),
)


@torch.library.custom_op("foveal::aggregated_attention", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    local_bias: Tensor | None,
    pool_bias: Tensor | None,
    local_weights: Tensor | None,
    kernel_size: int,
    scale: float,
    backend: str | None,
) -> Tensor:
    """Compute `foveal.ops.aggregated_attention`; gradients are registered below."""
    chosen = choose(NAME, q, backend)
    if chosen == "reference" or q.numel() == 0:
        return aggregated_attention_reference(
            q, k, v, k_pool, v_pool, kernel_size, local_bias, pool_bias, local_weights, scale
        ).contiguous()
    given = [q, k, v, k_pool, v_pool, local_bias, pool_bias, local_weights]
    if chosen == "triton":
        from foveal.ops.aggregated_attention import triton  # an optional package

        return triton.forward(given, kernel_size, scale)[0]
    tensors = _for_kernel(*given)
    out = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
    torch.ops.foveal_cpp.aggregated_attention_forward(*tensors, kernel_size, scale, out)
    return out.to(q.dtype)


@attend.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@torch.library.custom_op("foveal::aggregated_attention_backward", mutates_args=())
def attend_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    local_bias: Tensor | None,
    pool_bias: Tensor | None,
    local_weights: Tensor | None,
    kernel_size: int,
    scale: float,
    backend: str | None,
) -> list[Tensor]:
    """Gradients for the tensors in their order, [0] for those that are not there."""
    given = [q, k, v, k_pool, v_pool, local_bias, pool_bias, local_weights]
    chosen = choose(NAME, q, backend)
    if chosen == "reference" or q.numel() == 0:
        return _reference_backward(grad, given, kernel_size, scale)
    if chosen == "triton":
        from foveal.ops.aggregated_attention import triton  # an optional package

        return triton.backward(grad, given, kernel_size, scale)
    tensors = _for_kernel(*given)
    [slope] = _for_kernel(grad)
    grads = [torch.zeros_like(x, memory_format=torch.contiguous_format) for x in tensors]
    by_image = grads[5].new_zeros(0 if local_bias is None else (q.shape[0], *local_bias.shape))
    wanted = [*grads[:5], by_image, *grads[6:]]
    torch.ops.foveal_cpp.aggregated_attention_backward(slope, *tensors, kernel_size, scale, *wanted)
    grads[3:6] = [grads[3].squeeze(1), grads[4].squeeze(1), by_image if local_bias is None else by_image.sum(0)]
    return [x.to(q.dtype) for x in grads]


@attend_backward.register_fake
def _(grad: Tensor, *given: Any) -> list[Tensor]:
    return [
        grad.new_empty(0) if x is None else torch.empty_like(x, memory_format=torch.contiguous_format)
        for x in given[:8]
    ]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.numbers = inputs[8:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    given = ctx.saved_tensors
    grads = torch.ops.foveal.aggregated_attention_backward(grad, *given, *ctx.numbers)
    return *(None if x is None else g for x, g in zip(given, grads, strict=True)), None, None, None


attend.register_autograd(_backward, setup_context=_setup)


def _reference_backward(grad: Tensor, given: list[Tensor | None], kernel_size: int, scale: float) -> list[Tensor]:
    """Differentiate the reference, for compiled graphs where no kernel can run."""
    inputs = [None if x is None else x.detach().requires_grad_() for x in given]
    q, k, v, k_pool, v_pool, local_bias, pool_bias, weights = inputs
    assert q is not None and k is not None and v is not None and k_pool is not None and v_pool is not None
    with recording():
        out = aggregated_attention_reference(
            q, k, v, k_pool, v_pool, kernel_size, local_bias, pool_bias, weights, scale
        )
    grads = iter(torch.autograd.grad(out, [x for x in inputs if x is not None], grad))
    return [q.new_empty(0) if x is None else next(grads).contiguous() for x in inputs]


def _for_kernel(*tensors: Tensor | None) -> list[Tensor]:
    """As the C++ kernel reads them: float32 or float64, the pooled ones an image of one row, none as [0].

    Queries, keys and values have a dense last axis, the pooled bias any order in memory; the rest is contiguous.
    """
    like = next(x for x in tensors if x is not None)
    ready = []
    for number, x in enumerate(tensors):
        x = like.new_empty(0) if x is None else x
        x = x.float() if x.dtype == torch.bfloat16 else x
        x = x.unsqueeze(1) if x.ndim == 4 else x
        as_it_is = x.stride(-1) == 1 if number < 5 else x.ndim == 3
        ready.append(x if as_it_is else x.contiguous())
    return ready
