"""The public function: checks, defaults and one axis as two."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foveal.ops.dispatch import in_pytorch
from foveal.ops.neighborhood_attention.operator import NAME, attend
from foveal.ops.neighborhood_attention.reference import neighborhood_attention_reference


def neighborhood_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    rpb: Tensor | None = None,
    scale: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Let every position attend to the kernel_size nearest positions of its dilation group on each axis.

    Neighborhood Attention Transformer, arXiv:2204.07143, and with dilation arXiv:2209.15001; computes what NATTEN 0.14
    computed: a window is never cut at a border but shifted inside, and the bias goes by the relative position.
    https://github.com/SHI-Labs/NATTEN dropped the bias in its version 0.20.

    Args:
        q: Queries [N, H, W, heads, dim] or [N, L, heads, dim], any floating-point type.
        k: Keys, as ``q``.
        v: Values, as ``q``.
        kernel_size: Odd; one number for all axes, or one an axis.
        dilation: At least 1; the same. kernel_size * dilation is at most the axis's length.
        rpb: Relative positional bias [heads, 2 * kernel_size - 1, 2 * kernel_size - 1] or [heads, 2 * kernel_size - 1],
            added to the scaled scores; its middle is the query's own position, what comes before it in the image has
            the smaller number.
        scale: Factor of the scores q·k; None: dim ** -0.5.
        backend: ``cpp`` or ``reference``; None: the environment's ``FOVEAL_OPS_BACKEND``, else the fastest that can.

    Returns:
        As ``q``.

    Raises:
        ValueError: If an argument is out of range or its shape, type or device does not fit the others'; if the
            backend cannot compute them.
    """
    if q.ndim not in (4, 5):
        raise ValueError(f"q must be [N, H, W, heads, dim] or [N, L, heads, dim], got shape {list(q.shape)}")
    if not q.is_floating_point():
        raise ValueError(f"q must be floating-point, got {q.dtype}")
    for name, x in (("k", k), ("v", v)):
        if x.shape != q.shape:
            raise ValueError(f"{name} must have q's shape {list(q.shape)}, got {list(x.shape)}")
        _check_like(name, x, q)
    sizes = q.shape[1:-2]
    kernel_size = _per_axis("kernel_size", kernel_size, len(sizes))
    dilation = _per_axis("dilation", dilation, len(sizes))
    for i, (length, size, step) in enumerate(zip(sizes, kernel_size, dilation, strict=True)):
        if size % 2 == 0:
            raise ValueError(f"kernel_size must be odd on every axis, got {kernel_size}")
        if size * step > length:
            raise ValueError(
                f"kernel_size * dilation must be at most the length of the axis: on axis {i + 1} of q "
                f"{list(q.shape)} it is {size} * {step} = {size * step}, the length {length}"
            )
    heads = q.shape[-2]
    if rpb is not None:
        wanted = [heads, *(2 * size - 1 for size in kernel_size)]
        if list(rpb.shape) != wanted:
            raise ValueError(f"rpb must have shape {wanted}, heads and 2 * kernel_size - 1, got {list(rpb.shape)}")
        _check_like("rpb", rpb, q)
    if scale is None:
        scale = q.shape[-1] ** -0.5
    if len(sizes) == 2:
        pairs = (kernel_size[0], kernel_size[1]), (dilation[0], dilation[1])
        return _attend(q, k, v, *pairs, rpb, scale, backend)
    q, k, v = q.unsqueeze(2), k.unsqueeze(2), v.unsqueeze(2)
    rpb = None if rpb is None else rpb.unsqueeze(2)
    return _attend(q, k, v, (kernel_size[0], 1), (dilation[0], 1), rpb, scale, backend).squeeze(2)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kernel_size: tuple[int, int],
    dilation: tuple[int, int],
    rpb: Tensor | None,
    scale: float,
    backend: str | None,
) -> Tensor:
    """Two axes, by the reference or the registered operator."""
    if in_pytorch(NAME, q, backend):
        return neighborhood_attention_reference(q, k, v, kernel_size, dilation, rpb, scale)
    return attend(q, k, v, rpb, list(kernel_size), list(dilation), scale, backend)


def _per_axis(name: str, value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One positive number an axis."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(values) != axes or any(not isinstance(number, int) or number < 1 for number in values):
        raise ValueError(f"{name} must be a positive integer or {axes} of them, one an axis of q, got {value}")
    return values


def _check_like(name: str, x: Tensor, q: Tensor) -> None:
    """Refuse another type or device than the queries'."""
    if x.dtype != q.dtype:
        raise ValueError(f"{name} must have q's dtype {q.dtype}, got {x.dtype}")
    if x.device != q.device:
        raise ValueError(f"{name} must be on q's device {q.device}, got {x.device}")
