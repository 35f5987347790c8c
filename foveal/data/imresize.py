"""MATLAB's ``imresize``: the bicubic resampling that super-resolution papers make their low-resolution images with.

OpenCV, Pillow and PyTorch use another kernel (a = -0.75) or no antialiasing; with them, published PSNR figures cannot
be reproduced. Documentation of the original: https://www.mathworks.com/help/images/ref/imresize.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from foveal.errors import ConfigError


def imresize(
    image: np.ndarray,
    scale: float | Sequence[float] | None = None,
    output_shape: Sequence[int] | None = None,
    method: str = "bicubic",
    antialiasing: bool = True,
    rounding: str | None = "uint8",
) -> np.ndarray:
    """Resize an image as MATLAB's ``imresize`` does.

    Args:
        image: [H, W] or [H, W, C], uint8, or floating point in any range.
        scale: Output size divided by input size, one number or (vertical, horizontal); the output has
            ceil(size * scale) pixels. Give either this or ``output_shape``.
        output_shape: (height, width) of the output.
        method: ``'bicubic'`` (Keys' kernel with a = -0.5) or ``'bilinear'``.
        antialiasing: Widen the kernel by 1 / scale where the image shrinks.
        rounding: For uint8 images. ``'uint8'`` rounds after each of the two passes, as MATLAB does with uint8 input;
            None keeps floating point between the passes and rounds once. Halves are rounded up.

    Returns:
        The resized image with the dtype of ``image``. The computation is in float64, or in float32 where that is exact.

    Raises:
        ConfigError: If not exactly one of ``scale`` and ``output_shape`` is given, or an argument is unknown.
    """
    if method not in _KERNELS:
        raise ConfigError(f"imresize: method must be one of {', '.join(_KERNELS)}, got {method!r}")
    if rounding not in ("uint8", None):
        raise ConfigError(f"imresize: rounding must be 'uint8' or None, got {rounding!r}")
    scales, shape = _scales_and_shape(image.shape[:2], scale, output_shape)
    is_uint8 = image.dtype == np.uint8
    step_rounds = is_uint8 and rounding == "uint8"
    result = image.astype(np.float32 if step_rounds else np.float64)
    # MATLAB begins with the dimension that shrinks most, and with the rows when both are equal.
    for axis in sorted((0, 1), key=lambda a: scales[a]):
        result = _resize_axis(result, axis, shape[axis], scales[axis], method, antialiasing, step_rounds)
        if step_rounds:
            result = _round_uint8(result)
    return _round_uint8(result).astype(np.uint8) if is_uint8 else result.astype(image.dtype)


def _scales_and_shape(
    size: Sequence[int], scale: float | Sequence[float] | None, output_shape: Sequence[int] | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Return the scale and the output size of both dimensions from whichever the caller gave."""
    if scale is not None and output_shape is None:
        pair = tuple(scale) if isinstance(scale, Sequence) else (scale, scale)
        if len(pair) != 2 or min(pair) <= 0:
            raise ConfigError(f"imresize: scale must be one or two positive numbers, got {scale!r}")
        return (pair[0], pair[1]), (math.ceil(size[0] * pair[0]), math.ceil(size[1] * pair[1]))
    if output_shape is not None and scale is None:
        height, width = output_shape
        return (height / size[0], width / size[1]), (height, width)
    raise ConfigError(f"imresize: give scale or output_shape, got scale={scale!r}, output_shape={output_shape!r}")


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE Trans. ASSP 29(6), 1981)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _triangle(x: np.ndarray) -> np.ndarray:
    """Linear interpolation."""
    return np.maximum(1 - np.abs(x), 0)


_BLOCK = 16384  # float64 numbers handled at once
_LARGEST_MATRIX = 2**16  # a product with a larger one, most of it zeros, takes longer than adding tap by tap

_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (_cubic, 4.0),
    "bilinear": (_triangle, 2.0),
}


@lru_cache(maxsize=256)
def _taps(
    in_length: int, out_length: int, scale: float, method: str, antialiasing: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each output pixel, the input pixels it is made of and their weights: int and float [taps, out]."""
    kernel, width = _KERNELS[method]
    stretch = scale if antialiasing and scale < 1 else 1.0
    width /= stretch
    # Pixel i covers [i - 0.5, i + 0.5] and counts from 1: the images' outer edges coincide, not the first pixels.
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    positions = first + np.arange(math.ceil(width) + 2)[:, None]
    weights = stretch * kernel(stretch * (centre - positions))
    weights /= weights.sum(axis=0)
    mirrored = np.concatenate([np.arange(in_length), np.arange(in_length)[::-1]])
    indices = mirrored[np.mod(positions.astype(np.int64) - 1, 2 * in_length)]
    used = weights.any(axis=1)
    weights, indices = weights[used], indices[used]
    weights.flags.writeable = indices.flags.writeable = False
    return indices, weights


@lru_cache(maxsize=64)
def _exact_matrix(in_length: int, out_length: int, scale: float, method: str, antialiasing: bool) -> np.ndarray | None:
    """The weights as a float32 matrix [out, in] if sums over integers up to 255 are exact with it, else None.

    Halving and quartering have weights that are multiples of 2 ** -12: such a sum has no more than 24 bits, so neither
    the order of adding nor float32 changes it.
    """
    indices, weights = _taps(in_length, out_length, scale, method, antialiasing)
    small = in_length * out_length <= _LARGEST_MATRIX
    if not small or (weights * 4096 % 1).any() or 255 * 4096 * np.abs(weights).sum(0).max() >= 2**24:
        return None
    matrix = np.zeros((out_length, in_length), np.float32)
    np.add.at(matrix, (np.broadcast_to(np.arange(out_length), indices.shape), indices), weights.astype(np.float32))
    matrix.flags.writeable = False
    return matrix


def _resize_axis(
    image: np.ndarray, axis: int, out_length: int, scale: float, method: str, antialiasing: bool, integers: bool
) -> np.ndarray:
    """Resample one axis of an image; ``integers``: its values are 0 to 255, so float32 may be exact."""
    lines = np.ascontiguousarray(np.moveaxis(image, axis, 0))
    flat = lines.reshape(len(lines), -1)
    matrix = _exact_matrix(len(lines), out_length, scale, method, antialiasing) if integers else None
    if matrix is not None:
        return np.moveaxis((matrix @ flat).reshape(out_length, *lines.shape[1:]), 0, axis)
    indices, weights = _taps(len(lines), out_length, scale, method, antialiasing)
    # Added up tap by tap, not by a matrix product: BLAS orders the sum differently from machine to machine, and a
    # last-bit difference decides how a half is rounded. A few lines at a time, so that they stay in the cache.
    total = np.zeros((out_length, flat.shape[1]))
    step = max(_BLOCK // flat.shape[1], 1)
    for start in range(0, out_length, step):
        block = slice(start, start + step)
        for index, weight in zip(indices[:, block], weights[:, block], strict=True):
            total[block] += weight[:, None] * flat[index]
    return np.moveaxis(total.reshape(out_length, *lines.shape[1:]), 0, axis)


def _round_uint8(image: np.ndarray) -> np.ndarray:
    """Round halves up and clip to [0, 255]; stays floating point."""
    return np.clip(np.floor(image + 0.5), 0, 255)
