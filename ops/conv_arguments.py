"""Checks of the arguments that two-dimensional convolutions share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Pair = tuple[int, int]


def per_axis(name: str, value: int | Sequence[int], least: int) -> Pair:
    """One number for H and one for W.

    Args:
        name: Of the argument.
        value: One number for both, or two.
        least: The smallest that is allowed.

    Raises:
        ValueError: If ``value`` is anything else.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(values) != 2 or any(not isinstance(number, int) or number < least for number in values):
        raise ValueError(f"{name} must be an integer of at least {least}, or two of them, got {value}")
    return values[0], values[1]


def check_image(x: Tensor) -> None:
    """Refuse what is not a batch of images.

    Raises:
        ValueError: If ``x`` is not floating-point or not [N, C, H, W].
    """
    if x.ndim != 4:
        raise ValueError(f"x must be [N, C, H, W], got shape {list(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating-point, got {x.dtype}")


def check_parameters(x: Tensor, weight: Tensor, bias: Tensor | None, channels: int) -> None:
    """Refuse a bias of another length, and another type or device than the image's.

    Autocast makes the types equal by itself.

    Args:
        x: The image.
        weight: Of any shape.
        bias: [channels] or None.
        channels: Of the result.

    Raises:
        ValueError: As said.
    """
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias must be [{channels}], got shape {list(bias.shape)}")
    for name, tensor in (("weight", weight), ("bias", bias)):
        check_like(name, tensor, x)


def check_like(name: str, tensor: Tensor | None, x: Tensor) -> None:
    """Refuse another type or device than the image's; autocast makes the types equal by itself.

    Raises:
        ValueError: As said.
    """
    if tensor is None:
        return
    if tensor.device != x.device:
        raise ValueError(f"{name} must be on x's device {x.device}, got {tensor.device}")
    if tensor.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(f"{name} must have x's dtype {x.dtype}, got {tensor.dtype}")


def check_fit(x: Tensor, kernel: Sequence[int], padding: Pair, dilation: Pair) -> None:
    """Refuse a kernel that is larger than the image with its padding.

    Raises:
        ValueError: If it is, on either axis.
    """
    for axis, length, size, pad, step in zip("HW", x.shape[2:], kernel, padding, dilation, strict=True):
        covered = step * (size - 1) + 1
        if size < 1 or length + 2 * pad < covered:
            raise ValueError(
                f"the kernel must fit: on {axis} it covers {covered} pixels, and x {list(x.shape)} with padding {pad} "
                f"has {length + 2 * pad}"
            )


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return channels_last only where the image is so and in no other order."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
