"""A product with an image's spectrum: by FFT, and in graphs for a file by matrices, since few runtimes have an FFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from foveal.ops.dispatch import in_graph


def filter_spectrum(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply the half spectrum of real maps and go back.

    Args:
        x: [N, C, H, W], float32 or float64.
        weight: Real and imaginary part of the factors, [C, H, W // 2 + 1, 2].

    Returns:
        [N, C, H, W].
    """
    if in_graph():
        return _by_matrices(x, weight)
    factors = torch.view_as_complex(weight)
    return torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") * factors, s=x.shape[2:], norm="ortho")


def _by_matrices(x: Tensor, weight: Tensor) -> Tensor:
    height, width = x.shape[2:]
    cos_h, sin_h = _waves(height, height, x)
    cos_w, sin_w = _waves(width, weight.shape[2], x)
    real, imaginary = x @ cos_w, -(x @ sin_w)
    real, imaginary = cos_h @ real + sin_h @ imaginary, cos_h @ imaginary - sin_h @ real
    a, b = weight.unbind(-1)
    real, imaginary = real * a - imaginary * b, real * b + imaginary * a
    real, imaginary = cos_h @ real - sin_h @ imaginary, cos_h @ imaginary + sin_h @ real
    # the other half of the spectrum is conjugate; its first column and, of an even width, its last are their own
    column = torch.arange(weight.shape[2], device=x.device)
    twice = torch.where((column > 0) & (2 * column != width), 2.0, 1.0).to(x)
    return ((real * twice) @ cos_w.T - (imaginary * twice) @ sin_w.T) / (height * width)


def _waves(length: int, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, count] of the first frequencies."""
    place, frequency = (torch.arange(n, device=like.device) for n in (length, count))
    # whole turns are taken off while the numbers are exact
    angle = (place[:, None] * frequency % length).to(like) * (2 * math.pi / length)
    return angle.cos(), angle.sin()
