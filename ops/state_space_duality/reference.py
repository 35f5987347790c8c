"""State-space duality in PyTorch: the definition of right."""

from __future__ import annotations

from torch import Tensor


def ssd_hidden_state_reference(x: Tensor, dt: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """Compute `foveal.ops.ssd_hidden_state` of arguments that are right.

    Args:
        x: [N, L, dim].
        dt: [N, S, L].
        A: [S].
        B: [N, S, L].

    Returns:
        [N, S, dim].
    """
    weights = (dt + A.unsqueeze(1)).softmax(2) * B
    return (weights.to(x.dtype) @ x).to(x.dtype)  # autocast multiplies in its own type
