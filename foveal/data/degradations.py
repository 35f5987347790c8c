"""What makes images worse: noise, JPEG, blur kernels, and sensors that see one colour a pixel. Plain NumPy.

Images are [H, W] or [H, W, C] on the scale 0 to 255. Kernels and the order of Real-ESRGAN's chain are those of
https://github.com/xinntao/Real-ESRGAN (arXiv:2107.10833) and of https://github.com/XPixelGroup/BasicSR.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy import special

from foveal.errors import ConfigError

KERNELS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


def gaussian_noise(image: np.ndarray, sigma: float, rng: np.random.RandomState, gray: bool = False) -> np.ndarray:
    """Add normal noise.

    Args:
        image: Any type.
        sigma: Standard deviation, of 255.
        rng: Where it is drawn from.
        gray: The same noise for all channels.

    Returns:
        Float32, neither clipped nor rounded.
    """
    shape = (*image.shape[:2], 1) if gray and image.ndim == 3 else image.shape
    return (image + rng.normal(0, sigma, shape)).astype(np.float32)


def poisson_noise(image: np.ndarray, scale: float, rng: np.random.RandomState, gray: bool = False) -> np.ndarray:
    """Add the noise of counted photons, as many as the image has different values, rounded up to a power of 2.

    Args:
        image: Any type.
        scale: Factor of the noise.
        rng: Where it is drawn from.
        gray: The same noise for all channels, that of their mean.

    Returns:
        Float32, neither clipped nor rounded.
    """
    whole = np.clip(np.round(image), 0, 255)
    if gray and image.ndim == 3:
        whole = np.round(whole.mean(2, keepdims=True))
    count = 2.0 ** math.ceil(math.log2(max(len(np.unique(whole)), 2)))
    noise = rng.poisson(whole / 255 * count) / count * 255 - whole
    return (image + scale * noise).astype(np.float32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return the uint8 image after OpenCV's JPEG of a quality from 1 to 100; gray stays gray, else channels are BGR."""
    _, code = cv2.imencode(".jpg", to_uint8(image), [cv2.IMWRITE_JPEG_QUALITY, quality])
    gray = image.ndim == 2 or image.shape[2] == 1
    decoded: np.ndarray = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR))
    return decoded.reshape(image.shape)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Round and clip to uint8."""
    return image if image.dtype == np.uint8 else np.clip(np.round(image), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate every channel with a kernel [k, k], borders mirrored; float32."""
    return cv2.filter2D(image.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)


def blur_kernel(kind: str, size: int, sigmas: tuple[float, float], angle: float = 0.0, beta: float = 1.0) -> np.ndarray:
    """Make a kernel that sums to 1.

    Args:
        kind: One of `KERNELS`. ``iso`` uses the first deviation alone; ``generalized`` raises the Gaussian's exponent
            to ``beta``, ``plateau`` is 1 / (1 + exponent ** beta).
        size: Side, odd.
        sigmas: Deviations along the two axes, in pixels.
        angle: Of the first axis, in radians.
        beta: Shape.

    Returns:
        Float64 [size, size].

    Raises:
        ConfigError: If the kind is unknown or the size even.
    """
    if kind not in KERNELS or size % 2 == 0:
        raise ConfigError(f"a blur kernel is one of {', '.join(KERNELS)} with an odd size, got {kind!r}, {size}")
    first, second = sigmas if "aniso" in kind else (sigmas[0], sigmas[0])
    place = np.arange(size) - size // 2
    x, y = np.meshgrid(place, place)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    squared = (along / first) ** 2 + (across / second) ** 2
    if kind.startswith("plateau"):
        kernel = 1 / (squared**beta + 1)
    else:
        kernel = np.exp(-0.5 * squared ** (beta if kind.startswith("generalized") else 1))
    return kernel / kernel.sum()


def sinc_kernel(cutoff: float, size: int) -> np.ndarray:
    """Make the circular low-pass filter that rings and overshoots.

    Args:
        cutoff: Frequency in radians, at most pi.
        size: Side, odd.
    """
    place = np.arange(size) - size // 2
    radius = np.hypot(*np.meshgrid(place, place))
    radius[size // 2, size // 2] = 1  # its value comes below
    kernel = cutoff * special.j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return kernel / kernel.sum()


def mosaic(image: np.ndarray, pattern: str = "RGGB", quad: bool = False, event_pixels: bool = False) -> np.ndarray:
    """Keep of every pixel the colour that the sensor's filter lets through.

    Args:
        image: BGR [H, W, 3].
        pattern: Colours of a 2 x 2 block, row by row: ``RGGB``, ``BGGR``, ``GRBG`` or ``GBRG``.
        quad: Every filter covers 2 x 2 pixels (Quad Bayer, of the MIPI challenge's HybridEVS sensor).
        event_pixels: Of each 4 x 4 block of a quad sensor, the first red and the first blue pixel see events in place
            of light and are 0.

    Returns:
        [H, W] of the image's type.

    Raises:
        ConfigError: If the pattern is unknown, or there are event pixels without ``quad``.
    """
    if event_pixels and not quad:
        raise ConfigError("event_pixels are those of a quad sensor: they need quad=True")
    if sorted(pattern) != ["B", "G", "G", "R"]:
        raise ConfigError(f"a Bayer pattern has the letters R, G, G, B, such as 'RGGB', got {pattern!r}")
    height, width = image.shape[:2]
    step = 2 if quad else 1
    rows, columns = np.arange(height)[:, None] // step % 2, np.arange(width) // step % 2
    channels = np.array(["BGR".index(letter) for letter in pattern]).reshape(2, 2)
    raw = np.take_along_axis(image, channels[rows, columns][..., None], 2)[..., 0]
    if event_pixels:
        corner = (np.arange(height)[:, None] % 2 == 0) & (np.arange(width) % 2 == 0)
        green = channels[rows, columns] == 1
        raw = np.where(corner & ~green, 0, raw).astype(image.dtype)
    return raw
