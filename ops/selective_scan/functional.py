"""The public function: checks, shapes, and what is done to each position alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.ops.dispatch import in_pytorch
from foveal.ops.selective_scan.exported import scan_exported
from foveal.ops.selective_scan.operator import NAME, scan
from foveal.ops.selective_scan.segmented import scan_segmented


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Run the recurrence h[l] = exp(t[l] A) h[l-1] + t[l] B[l] u[l] over the positions and read y[l] = C[l] . h[l].

    Mamba's selective state space (arXiv:2312.00752); shapes and meaning are those of ``selective_scan_fn`` of
    https://github.com/state-spaces/mamba. Every channel has S states. It is computed in float32, or in float64 where
    ``u`` is.

    Args:
        u: Inputs [N, dim, L], any floating-point type.
        delta: Steps [N, dim, L], as ``u``; t above is what the next two arguments make of them.
        A: Rates [dim, S], negative where the states shall decay, of ``u``'s type or float32.
        B: Input weights: [N, S, L]; or [N, G, S, L], where each of G groups of dim / G channels has its own; or
            [dim, S], the same at all positions.
        C: Output weights, as ``B`` can be.
        D: Weights [dim] of ``u`` in the output. None: no such term.
        z: Gate [N, dim, L], as ``u``: the output is multiplied by silu(z). None: no gate.
        delta_bias: [dim], added to ``delta``, of its type or float32.
        delta_softplus: Make the steps positive by softplus, after the bias.
        backend: ``triton``, ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest
            that can.

    Returns:
        [N, dim, L] of ``u``'s type.

    Raises:
        ValueError: If a shape, type or device does not fit the others'; if the backend cannot compute them.
    """
    if u.ndim != 3:
        raise ValueError(f"u must be [N, dim, L], got shape {list(u.shape)}")
    if not u.is_floating_point():
        raise ValueError(f"u must be floating-point, got {u.dtype}")
    batch, dim, length = u.shape
    for name, x in (("delta", delta), ("z", z)):
        if x is not None and x.shape != u.shape:
            raise ValueError(f"{name} must have u's shape {list(u.shape)}, got {list(x.shape)}")
        if x is not None and x.dtype != u.dtype:
            raise ValueError(f"{name} must have u's dtype {u.dtype}, got {x.dtype}")
    if A.ndim != 2 or A.shape[0] != dim:
        raise ValueError(f"A must be [dim, S] with u's dim {dim}, got shape {list(A.shape)}")
    for name, x in (("D", D), ("delta_bias", delta_bias)):
        if x is not None and x.shape != (dim,):
            raise ValueError(f"{name} must be [dim], here [{dim}], got shape {list(x.shape)}")
    for name, x in (("A", A), ("B", B), ("C", C), ("D", D), ("delta_bias", delta_bias)):
        if x is not None and not x.is_floating_point():
            raise ValueError(f"{name} must be real and floating-point, got {x.dtype}")
    for name, x in (("delta", delta), ("A", A), ("B", B), ("C", C), ("D", D), ("z", z), ("delta_bias", delta_bias)):
        if x is not None and x.device != u.device:
            raise ValueError(f"{name} must be on u's device {u.device}, got {x.device}")
    b = _grouped("B", B, batch, dim, A.shape[1], length)
    c = _grouped("C", C, batch, dim, A.shape[1], length)
    if b.shape[1] != c.shape[1]:
        groups = max(b.shape[1], c.shape[1])
        b, c = (weight.repeat_interleave(groups // weight.shape[1], 1) for weight in (b, c))
        if b.shape[1] != c.shape[1]:
            raise ValueError(f"the groups of B and C must fit each other, got {list(B.shape)} and {list(C.shape)}")
    wide = torch.promote_types(u.dtype, torch.float32)
    x, step = u.to(wide), delta.to(wide)
    if delta_bias is not None:
        step = step + delta_bias.to(wide).unsqueeze(1)
    if delta_softplus:
        step = F.softplus(step)
    rates, b, c = A.to(wide), b.to(wide), c.to(wide)
    # of meta tensors the registered operator knows the shape without running through the positions
    if torch.compiler.is_exporting():
        y = scan_exported(x, step, rates, b, c)
    elif x.device.type != "meta" and in_pytorch(NAME, x, backend):
        y = scan_segmented(x, step, rates, b, c)
    else:
        y = scan(x, step, rates, b, c, backend)
    if D is not None:
        y = y + D.to(wide).unsqueeze(1) * x
    if z is not None:
        y = y * F.silu(z.to(wide))
    return y.to(u.dtype)


def _grouped(name: str, weight: Tensor, batch: int, dim: int, states: int, length: int) -> Tensor:
    """One of the three forms of input or output weights as [N, G, S, L]."""
    shape = list(weight.shape)
    if shape == [dim, states]:
        return weight[None, :, :, None].expand(batch, dim, states, length)
    if shape == [batch, states, length]:
        return weight.unsqueeze(1)
    if weight.ndim == 4 and shape[0] == batch and shape[2:] == [states, length] and shape[1] and dim % shape[1] == 0:
        return weight
    raise ValueError(
        f"{name} must be [N, S, L], here {[batch, states, length]}, [N, G, S, L] with G a divisor of dim {dim}, "
        f"or [dim, S], here {[dim, states]}, got shape {shape}"
    )
