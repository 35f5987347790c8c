"""The public function: checks."""

from __future__ import annotations

from torch import Tensor

from foveal.ops.dispatch import asked_for, in_pytorch
from foveal.ops.state_space_duality.operator import NAME, gather
from foveal.ops.state_space_duality.reference import ssd_hidden_state_reference


def ssd_hidden_state(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, backend: str | None = None) -> Tensor:
    """Gather L positions into S hidden states: h[n, s] = sum over l of softmax(dt[n, s] + A[s])[l] B[n, s, l] x[n, l].

    State-space duality (Mamba-2, arXiv:2405.21060) whose decay does not accumulate along the positions, so that they
    have no order: the first half of the mixer of EfficientViM, arXiv:2411.15241, https://github.com/mlvlab/EfficientViM.
    The output, y[n, l] = sum over s of C[n, s, l] * h[n, s], is one matrix product, which the mixer takes after it has
    changed h.

    Args:
        x: Inputs [N, L, dim], any floating-point type.
        dt: Steps [N, S, L], as ``x``.
        A: Rates [S], of ``x``'s type or float32. The softmax over the positions takes their effect away; released
            weights have them.
        B: Input weights [N, S, L], as ``x``.
        backend: ``triton``, ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else PyTorch on
            a CPU and Triton on a GPU.

    Returns:
        Hidden states [N, S, dim], of ``x``'s type.

    Raises:
        ValueError: If a shape, type or device does not fit the others'; if the backend that is asked for cannot
            compute this.
    """
    if x.ndim != 3:
        raise ValueError(f"x must be [N, L, dim], got shape {list(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating-point, got {x.dtype}")
    if A.ndim != 1:
        raise ValueError(f"A must be [S], got shape {list(A.shape)}")
    wanted = (x.shape[0], A.shape[0], x.shape[1])
    for name, y in (("dt", dt), ("B", B)):
        if y.shape != wanted:
            raise ValueError(f"{name} must be [N, S, L], here {list(wanted)}, got shape {list(y.shape)}")
        if y.dtype != x.dtype:
            raise ValueError(f"{name} must have x's dtype {x.dtype}, got {y.dtype}")
    if not A.is_floating_point():
        raise ValueError(f"A must be floating-point, got {A.dtype}")
    for name, y in (("dt", dt), ("A", A), ("B", B)):
        if y.device != x.device:
            raise ValueError(f"{name} must be on x's device {x.device}, got {y.device}")
    # nearly all the time is the product's: on a CPU the kernel is not faster than PyTorch
    # (benchmarks/results/ops_state_space_duality_cpu.json), and serves who asks for it
    if (x.device.type == "cpu" and not asked_for(backend)) or in_pytorch(NAME, x, backend):
        return ssd_hidden_state_reference(x, dt, A, B)
    return gather(x, dt, A, B, backend)
