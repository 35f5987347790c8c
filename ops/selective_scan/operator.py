"""The registered operator: the recurrence itself, without the gate, the softplus and the term of the input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.ops.dispatch import choose, cpp_why_not, recording, register, triton_why_not
from foveal.ops.selective_scan.segmented import scan_segmented

NAME = "selective_scan"
# the C++ kernel's loop over states takes them eight at a time
_UNIT = 8

register(
    NAME,
    triton=triton_why_not(torch.float32, torch.float64),
    cpp=cpp_why_not(torch.float32, torch.float64),
)


@torch.library.custom_op("foveal::selective_scan", mutates_args=())
def scan(u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, backend: str | None) -> Tensor:
    """Compute y of h[l] = exp(step[l] A) h[l-1] + step[l] u[l] B[l], y[l] = C[l] . h[l].

    Args:
        u: [N, dim, L], float32 or float64; the others are of its type.
        step: [N, dim, L].
        A: [dim, S].
        B: [N, G, S, L].
        C: [N, G, S, L].
        backend: As in `foveal.ops.selective_scan`.
    """
    chosen = choose(NAME, u, backend)
    if chosen == "reference" or not u.numel():
        return scan_segmented(u, step, A, B, C).contiguous()
    out = torch.empty_like(u, memory_format=torch.contiguous_format)
    if chosen == "triton":
        from foveal.ops.selective_scan import triton as kernels

        kernels.forward([x.contiguous() for x in (u, step, A, B, C)], out)
        return out
    tensors = _for_cpp(u, step, A, B, C)
    torch.ops.foveal_cpp.selective_scan_forward(*tensors, _parts(u, B), out)
    return out


@scan.register_fake
def _(u: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(u, memory_format=torch.contiguous_format)


@torch.library.custom_op("foveal::selective_scan_backward", mutates_args=())
def scan_backward(
    grad: Tensor, u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, backend: str | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients for u, step, A, B and C."""
    chosen = choose(NAME, u, backend)
    if chosen == "reference" or not u.numel():
        inputs = [x.detach().requires_grad_() for x in (u, step, A, B, C)]
        with recording():
            out = scan_segmented(*inputs)
        d_u, d_step, d_a, d_b, d_c = (x.contiguous() for x in torch.autograd.grad(out, inputs, grad))
        return d_u, d_step, d_a, d_b, d_c
    d_u, d_step = (torch.empty_like(u, memory_format=torch.contiguous_format) for _ in range(2))
    batch, dim, length = u.shape
    groups, states = B.shape[1:3]
    if chosen == "triton":
        from foveal.ops.selective_scan import triton as kernels

        tensors = [x.contiguous() for x in (u, step, A, B, C)]
        d_a, d_b, d_c = u.new_zeros(batch, dim, states), torch.zeros_like(tensors[3]), torch.zeros_like(tensors[4])
        kernels.backward(grad.contiguous(), tensors, [d_u, d_step, d_a, d_b, d_c])
        return d_u, d_step, d_a.sum(0), d_b, d_c
    tensors, parts = _for_cpp(u, step, A, B, C), _parts(u, B)
    padded = tensors[2].shape[1]
    d_a = u.new_empty(batch, dim, padded)
    d_b, d_c = (u.new_zeros(batch, groups, parts, length, padded) for _ in range(2))
    torch.ops.foveal_cpp.selective_scan_backward(grad.contiguous(), *tensors, parts, d_u, d_step, d_a, d_b, d_c)
    d_b, d_c = (x.sum(2)[..., :states].transpose(2, 3).contiguous() for x in (d_b, d_c))
    return d_u, d_step, d_a.sum(0)[:, :states].contiguous(), d_b, d_c


@scan_backward.register_fake
def _(
    grad: Tensor, u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    like = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, step, A, B, C))
    d_u, d_step, d_a, d_b, d_c = like
    return d_u, d_step, d_a, d_b, d_c


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*torch.ops.foveal.selective_scan_backward(grad, *ctx.saved_tensors, ctx.backend), None)


scan.register_autograd(_backward, setup_context=_setup)


def _for_cpp(u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor) -> list[Tensor]:
    """As the C++ kernel reads them: the states of a position side by side, filled up with zeros, which stay zero."""
    fill = -A.shape[1] % _UNIT
    b, c = (F.pad(x.transpose(2, 3), (0, fill)).contiguous() for x in (B, C))
    return [u.contiguous(), step.contiguous(), F.pad(A, (0, fill)).contiguous(), b, c]


def _parts(u: Tensor, B: Tensor) -> int:
    """Into how many tasks the channels of a group go, so that every thread has one."""
    pairs = max(1, u.shape[0] * B.shape[1])
    return min(max(1, -(-torch.get_num_threads() // pairs)), u.shape[1] // B.shape[1])
