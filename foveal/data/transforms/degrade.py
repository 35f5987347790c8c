"""Making the low-quality image while training or scoring.

Each step changes ``img``; the first one takes it from ``gt_img``, where there is none yet. Random numbers come from
NumPy's generator, which the data set seeds for every sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.degradations import (
    KERNELS,
    blur,
    blur_kernel,
    gaussian_noise,
    jpeg,
    mosaic,
    poisson_noise,
    sinc_kernel,
    to_uint8,
)
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

Range = float | Sequence[float]
# NumPy's global generator under the interface of its own
_GLOBAL: Any = np.random


def _draw(value: Range) -> float:
    """A number as it is, or one out of a range."""
    return float(np.random.uniform(value[0], value[1])) if isinstance(value, Sequence) else float(value)


def _check_range(owner: str, name: str, value: Range, least: float) -> None:
    low, high = value if isinstance(value, Sequence) and len(value) == 2 else (value, value)
    if isinstance(low, Sequence) or isinstance(high, Sequence) or not least <= low <= high:
        raise ConfigError(f"{owner}: {name} is a number of at least {least:g}, or a range (low, high), got {value!r}")


def _take(results: dict[str, Any]) -> np.ndarray:
    return results["gt_img"] if results.get("img") is None else results["img"]


def _put(results: dict[str, Any], image: np.ndarray) -> dict[str, Any]:
    results["img"] = image
    results["img_shape"] = results["ori_shape"] = image.shape[:2]
    results.setdefault("img_path", results.get("gt_img_path"))
    return results


@TRANSFORMS.register_module()
class GaussianNoise(BaseTransform):
    """Add normal noise; the result is float32, neither clipped nor rounded, as tests of denoising have it.

    Args:
        sigma: Standard deviation, of 255, or a range of it.
        seed: Every image gets the noise of this seed: the protocol of tests, SwinIR's with 0. None: random.
        gray_prob: Probability of the same noise for all channels.
    """

    def __init__(self, sigma: Range, seed: int | None = None, gray_prob: float = 0.0) -> None:
        _check_range("GaussianNoise", "sigma", sigma, 0)
        self.sigma, self.seed, self.gray_prob = sigma, seed, gray_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the noise to ``img``."""
        rng = _GLOBAL if self.seed is None else np.random.RandomState(self.seed)
        gray = bool(self.gray_prob) and np.random.random_sample() < self.gray_prob
        return _put(results, gaussian_noise(_take(results), _draw(self.sigma), rng, gray))


@TRANSFORMS.register_module()
class PoissonNoise(BaseTransform):
    """Add the noise of counted photons; the result is float32, neither clipped nor rounded.

    Args:
        scale: Factor of the noise, or a range of it.
        gray_prob: Probability of the same noise for all channels.
    """

    def __init__(self, scale: Range = 1.0, gray_prob: float = 0.0) -> None:
        _check_range("PoissonNoise", "scale", scale, 0)
        self.scale, self.gray_prob = scale, gray_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the noise to ``img``."""
        gray = bool(self.gray_prob) and np.random.random_sample() < self.gray_prob
        return _put(results, poisson_noise(_take(results), _draw(self.scale), _GLOBAL, gray))


@TRANSFORMS.register_module()
class JPEGCompression(BaseTransform):
    """Compress by JPEG as OpenCV's encoder does; the result is uint8.

    Args:
        quality: From 1 to 100, or a range of it.
    """

    def __init__(self, quality: Range) -> None:
        _check_range("JPEGCompression", "quality", quality, 1)
        self.quality = quality

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Compress ``img``."""
        return _put(results, jpeg(_take(results), round(_draw(self.quality))))


@TRANSFORMS.register_module()
class RandomBlurKernel(BaseTransform):
    """Blur by a random kernel, or by one that rings; the result is float32. Defaults are Real-ESRGAN's first blur.

    Args:
        kinds: Kernels to choose from, of `foveal.data.degradations.KERNELS`.
        kind_probs: Their probabilities.
        sizes: Sides to choose from, odd.
        sigma: Range of the deviations, in pixels.
        betag: Range of the shape of generalized kernels.
        betap: Range of the shape of plateau kernels.
        sinc_prob: Probability of a sinc filter in place of them.
        prob: Probability that anything is done.
    """

    def __init__(
        self,
        kinds: Sequence[str] = KERNELS,
        kind_probs: Sequence[float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
        sizes: Sequence[int] = (7, 9, 11, 13, 15, 17, 19, 21),
        sigma: Range = (0.2, 3.0),
        betag: Sequence[float] = (0.5, 4.0),
        betap: Sequence[float] = (1.0, 2.0),
        sinc_prob: float = 0.1,
        prob: float = 1.0,
    ) -> None:
        if len(kinds) != len(kind_probs) or set(kinds) - set(KERNELS):
            raise ConfigError(
                f"RandomBlurKernel: kinds are of {', '.join(KERNELS)} with as many kind_probs, "
                f"got {list(kinds)} and {list(kind_probs)}"
            )
        _check_range("RandomBlurKernel", "sigma", sigma, 1e-3)
        self.kinds, self.kind_probs, self.sizes = list(kinds), np.asarray(kind_probs) / sum(kind_probs), list(sizes)
        self.sigma, self.betag, self.betap, self.sinc_prob, self.prob = sigma, betag, betap, sinc_prob, prob

    def kernel(self) -> np.ndarray:
        """Draw a kernel [k, k]."""
        size = int(np.random.choice(self.sizes))
        if np.random.random_sample() < self.sinc_prob:
            return sinc_kernel(np.random.uniform(np.pi / (3 if size < 13 else 5), np.pi), size)
        kind = str(np.random.choice(self.kinds, p=self.kind_probs))
        sigmas, angle = (_draw(self.sigma), _draw(self.sigma)), float(np.random.uniform(-np.pi, np.pi))
        low, high = self.betap if kind.startswith("plateau") else self.betag
        # below and above the Gaussian's own shape equally often
        beta = float(np.random.uniform(*((low, 1.0) if np.random.random_sample() < 0.5 else (1.0, high))))
        return blur_kernel(kind, size, sigmas, angle, beta)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Blur ``img``."""
        image = _take(results)
        if np.random.random_sample() < self.prob:
            image = blur(image, self.kernel())
        return _put(results, image)


@TRANSFORMS.register_module()
class BayerMosaic(BaseTransform):
    """Make a raw image of RGB, one channel; arguments as `foveal.data.degradations.mosaic`.

    Args:
        pattern: Colours of a block.
        quad: Every filter covers 2 x 2 pixels.
        event_pixels: Some pixels see events in place of light.
    """

    def __init__(self, pattern: str = "RGGB", quad: bool = False, event_pixels: bool = False) -> None:
        mosaic(
            np.zeros((1, 1, 3), np.uint8), pattern, quad, event_pixels
        )  # a wrong pattern is named now, not with the first image
        self.pattern, self.quad, self.event_pixels = pattern, quad, event_pixels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Make ``img`` [H, W] of BGR."""
        return _put(results, mosaic(_take(results), self.pattern, self.quad, self.event_pixels))


@TRANSFORMS.register_module()
class RandomHoles(BaseTransform):
    """Paint holes for inpainting: ``img`` becomes RGB and a mask, 255 in holes, as a fourth channel.

    Args:
        strokes: Range of the number of brush strokes.
        width: Range of their width over the image's shorter side.
    """

    def __init__(self, strokes: Sequence[int] = (2, 6), width: Sequence[float] = (0.05, 0.15)) -> None:
        self.strokes, self.width = strokes, width

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Make ``img`` [H, W, 4] of BGR."""
        image = _take(results)
        height, width = image.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        for _ in range(np.random.randint(self.strokes[0], self.strokes[1] + 1)):
            corners = np.random.randint(0, (width, height), (np.random.randint(2, 5), 2)).astype(np.int32)
            thickness = max(1, round(_draw(self.width) * min(height, width)))
            cv2.polylines(mask, [corners], False, 255, thickness)
        return _put(results, np.dstack([image[..., ::-1], mask]))


@TRANSFORMS.register_module()
class RealESRGANDegradation(BaseTransform):
    """Blur, resize, noise and JPEG, twice, then a filter that rings: Real-ESRGAN's chain (arXiv:2107.10833).

    Probabilities and ranges are those of its training options.

    Args:
        scale: Size of ``gt_img`` divided by that of ``img``.
    """

    def __init__(self, scale: int = 4) -> None:
        self.scale = scale
        self.blurs = RandomBlurKernel(), RandomBlurKernel(sigma=(0.2, 1.5), prob=0.8)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Make ``img``, uint8, of ``gt_img``, whose sides are multiples of the scale."""
        height, width = results["gt_img"].shape[:2]
        size = (width // self.scale, height // self.scale)
        stage: dict[str, Any] = {"img": results["gt_img"].astype(np.float32)}
        stage = self.blurs[0].transform(stage)
        image = _random_resize(stage["img"], (width, height), (0.2, 0.7, 0.1), (0.15, 1.5))
        image = jpeg(_random_noise(image, (1, 30), (0.05, 3)), round(_draw((30, 95)))).astype(np.float32)
        image = self.blurs[1].transform({"img": image})["img"]
        image = _random_resize(image, size, (0.3, 0.4, 0.3), (0.3, 1.2))
        image = _random_noise(image, (1, 25), (0.05, 2.5))
        kernel = np.ones((1, 1))
        if np.random.random_sample() < 0.8:
            kernel = sinc_kernel(np.random.uniform(np.pi / 3, np.pi), int(np.random.choice(self.blurs[0].sizes)))
        quality = round(_draw((30, 95)))
        if np.random.random_sample() < 0.5:
            image = jpeg(blur(_resize(image, size), kernel), quality)
        else:
            image = blur(_resize(jpeg(image, quality).astype(np.float32), size), kernel)
        return _put(results, to_uint8(image))


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (w, h) by a method drawn at random."""
    method = int(np.random.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return np.clip(cv2.resize(image, size, interpolation=method).reshape(size[1], size[0], -1), 0, 255)


def _random_resize(
    image: np.ndarray, size: tuple[int, int], probs: Sequence[float], factors: tuple[float, float]
) -> np.ndarray:
    """Resize to (w, h) times a factor: above 1, below 1 or 1, with these probabilities."""
    way = np.random.choice(3, p=probs)
    factor = _draw((1.0, factors[1])) if way == 0 else _draw((factors[0], 1.0)) if way == 1 else 1.0
    return _resize(image, (max(1, int(size[0] * factor)), max(1, int(size[1] * factor))))


def _random_noise(image: np.ndarray, sigma: Range, scale: Range) -> np.ndarray:
    """Normal or Poisson noise, one as often as the other; in four of ten the same for all channels."""
    gray = bool(np.random.random_sample() < 0.4)
    if np.random.random_sample() < 0.5:
        return gaussian_noise(image, _draw(sigma), _GLOBAL, gray)
    return poisson_noise(image, _draw(scale), _GLOBAL, gray)
