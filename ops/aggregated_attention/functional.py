"""The public function: checks and defaults."""

from __future__ import annotations

from torch import Tensor

from foveal.ops.aggregated_attention.operator import NAME, attend
from foveal.ops.aggregated_attention.reference import aggregated_attention_reference
from foveal.ops.dispatch import in_pytorch


def aggregated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    kernel_size: int,
    local_bias: Tensor | None = None,
    pool_bias: Tensor | None = None,
    local_weights: Tensor | None = None,
    scale: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Let every position attend to the window centred on it and to P pooled positions, with one softmax over both.

    TransNeXt, arXiv:2311.17132, https://github.com/DaiShiResearch/TransNeXt. Unlike neighbourhood attention, a window
    that crosses the border is cut there: what lies outside the image has no weight.

    Args:
        q: Queries [N, H, W, heads, dim], any floating-point type.
        k: Keys, as ``q``.
        v: Values, as ``q``.
        k_pool: Keys of the pooled positions [N, P, heads, dim].
        v_pool: Values of the pooled positions, as ``k_pool``.
        kernel_size: Side of the window, odd; the window has K = kernel_size ** 2 positions, row by row.
        local_bias: Added to the window's scores, [heads, K].
        pool_bias: Added to the pooled positions' scores, [heads, H * W, P].
        local_weights: Added to the window's weights after the softmax, [N, H, W, heads, K]: a convolution with weights
            of its own for every position.
        scale: Factor of the scores q·k; None: dim ** -0.5.
        backend: ``triton``, ``cpp`` or ``reference``; None: the environment's
            ``FOVEAL_OPS_BACKEND``, else the fastest that can.

    Returns:
        As ``q``.

    Raises:
        ValueError: If an argument is out of range or its shape, type or device does not fit the others'; if the
            backend cannot compute them.
    """
    if q.ndim != 5:
        raise ValueError(f"q must be [N, H, W, heads, dim], got shape {list(q.shape)}")
    if not q.is_floating_point():
        raise ValueError(f"q must be floating-point, got {q.dtype}")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    if k_pool.ndim != 4:
        raise ValueError(f"k_pool must be [N, P, heads, dim], got shape {list(k_pool.shape)}")
    batch, height, width, heads, dim = q.shape
    pooled, window = k_pool.shape[1], kernel_size**2
    _check("k", k, q, (batch, height, width, heads, dim))
    _check("v", v, q, (batch, height, width, heads, dim))
    _check("k_pool", k_pool, q, (batch, pooled, heads, dim))
    _check("v_pool", v_pool, q, (batch, pooled, heads, dim))
    _check("local_bias", local_bias, q, (heads, window))
    _check("pool_bias", pool_bias, q, (heads, height * width, pooled))
    _check("local_weights", local_weights, q, (batch, height, width, heads, window))
    if scale is None:
        scale = dim**-0.5
    if in_pytorch(NAME, q, backend):
        return aggregated_attention_reference(
            q, k, v, k_pool, v_pool, kernel_size, local_bias, pool_bias, local_weights, scale
        )
    return attend(q, k, v, k_pool, v_pool, local_bias, pool_bias, local_weights, kernel_size, scale, backend)


def _check(name: str, x: Tensor | None, q: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse another shape, or another type or device than the queries'."""
    if x is None:
        return
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)} with q {list(q.shape)}, got {list(x.shape)}")
    if x.dtype != q.dtype:
        raise ValueError(f"{name} must have q's dtype {q.dtype}, got {x.dtype}")
    if x.device != q.device:
        raise ValueError(f"{name} must be on q's device {q.device}, got {x.device}")
