"""PSNR and SSIM of restored images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from foveal.errors import ConfigError, DataError
from foveal.registry import METRICS

# MATLAB's rgb2ycbcr: 16 + these · (r, g, b) / 255, luma from 16 to 235
_LUMA = np.array([65.481, 128.553, 24.966])
_WINDOW = 11


def rgb_to_y(image: np.ndarray) -> np.ndarray:
    """Return the luma of ITU-R BT.601 as MATLAB's ``rgb2ycbcr`` computes it.

    It is not rounded: super-resolution papers since EDSR score it so (BasicSR, mmagic). The SRCNN protocol rounds
    it to uint8.

    Args:
        image: RGB [H, W, 3], uint8 or float in [0, 255].

    Returns:
        Float64 [H, W] in [16, 235].
    """
    return 16.0 + image.astype(np.float64) @ (_LUMA / 255.0)


def psnr(a: np.ndarray, b: np.ndarray, crop_border: int = 0, convert_to: str | None = None) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(255² / mean squared error), in decibels.

    Bicubic interpolation on Set5 gives the table of SRCNN (https://arxiv.org/abs/1501.00092), 33.66, 30.39 and 28.42
    for x2, x3 and x4, by its protocol: crop the image to a multiple of the scale, take the luma, round it to uint8,
    shrink and enlarge it as float (no rounding between), round to uint8, crop ``scale`` pixels from each side.

    Args:
        a: RGB [H, W, 3] or gray [H, W], in [0, 255].
        b: The same shape.
        crop_border: Pixels that do not count on each side.
        convert_to: ``Y`` compares the luma of RGB images. None: all channels.

    Returns:
        Decibels; infinite for equal images.

    Raises:
        ValueError: If the shapes differ or ``convert_to`` is unknown.
    """
    a, b = _comparable(a, b, crop_border, convert_to)
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else 10.0 * np.log10(255.0**2 / error)


def ssim(a: np.ndarray, b: np.ndarray, crop_border: int = 0, convert_to: str | None = None) -> float:
    """Return the structural similarity as the authors' MATLAB code does (Wang et al., 2004, ``ssim_index.m``).

    Gaussian window of 11 x 11 with sigma 1.5, K = (0.01, 0.03), on [0, 255] in float64, only where the whole window
    lies in the image; the mean over channels.

    Args:
        a: RGB [H, W, 3] or gray [H, W], in [0, 255].
        b: The same shape.
        crop_border: Pixels that do not count on each side.
        convert_to: ``Y`` compares the luma of RGB images. None: all channels.

    Returns:
        At most 1.

    Raises:
        ValueError: If the shapes differ, the image is smaller than the window, or ``convert_to`` is unknown.
    """
    a, b = _comparable(a, b, crop_border, convert_to)
    if min(a.shape[:2]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW} x {_WINDOW} pixels, got {a.shape[:2]} (h, w) after the crop")
    return float(np.mean([_ssim_channel(a[..., c], b[..., c]) for c in range(a.shape[2])]))


def _ssim_channel(a: np.ndarray, b: np.ndarray) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _blur(x: np.ndarray) -> np.ndarray:
    kernel = cv2.getGaussianKernel(_WINDOW, 1.5)
    margin = _WINDOW // 2
    return cv2.sepFilter2D(np.ascontiguousarray(x), cv2.CV_64F, kernel, kernel)[margin:-margin, margin:-margin]


def _comparable(
    a: np.ndarray, b: np.ndarray, crop_border: int, convert_to: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 [H, W, C], cropped, converted."""
    if a.shape != b.shape:
        raise ValueError(f"the images to compare must have one shape, got {a.shape} and {b.shape}")
    if convert_to not in (None, "Y"):
        raise ValueError(f"convert_to is 'Y' or None, got {convert_to!r}")
    if 2 * crop_border >= min(a.shape[:2]):
        raise ValueError(f"a border of {crop_border} leaves nothing of an image of {a.shape[:2]} (h, w)")
    images = []
    for image in (a, b):
        image = image[crop_border : image.shape[0] - crop_border, crop_border : image.shape[1] - crop_border]
        if convert_to == "Y" and image.ndim == 3 and image.shape[2] == 3:
            image = rgb_to_y(image)
        images.append(image.astype(np.float64).reshape(*image.shape[:2], -1))
    return images[0], images[1]


class ImageMetric(BaseMetric):
    """The mean over images of a function that compares a restored image with the sharp one: what scores have in common.

    Attributes:
        name: Of the result.
        function: Takes both images, ``crop_border`` and ``convert_to``, and raises ValueError where they do not fit.
    """

    name: ClassVar[str]
    function: Callable[[np.ndarray, np.ndarray, int, str | None], float]

    def __init__(
        self,
        crop_border: int = 0,
        convert_to: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if convert_to not in (None, "Y"):
            raise ConfigError(f"{type(self).__name__}: convert_to is 'Y' or None, got {convert_to!r}")
        self.crop_border = crop_border
        self.convert_to = convert_to
        self.scores: dict[str, float] = {}

    @property
    def key(self) -> str:
        """Name of the result: ``PSNR``, or ``PSNR_Y`` for the luma."""
        return self.name if self.convert_to is None else f"{self.name}_{self.convert_to}"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Compare the images of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``pred_img`` float [C, H, W] in [0, 1] and ``gt_img`` uint8
                [C, H, W], RGB.

        Raises:
            DataError: If the two sizes differ or are too small.
        """
        for sample in data_samples:
            pred, gt = to_uint8(sample["pred_img"]), to_uint8(sample["gt_img"])
            try:
                value = self.function(pred, gt, self.crop_border, self.convert_to)
            except ValueError as error:
                raise DataError(f"{sample.get('img_path', 'an image')}: {error}") from error
            self.results.append((str(sample.get("img_path") or len(self.results)), value))

    def compute_metrics(self, results: list[tuple[str, float]]) -> dict[str, float]:
        """Return the mean; the key names the colour space, ``PSNR_Y``, unless it is RGB. ``scores`` has every image's.

        Args:
            results: Name and value of each image.
        """
        self.scores = dict(results)
        channels = "luma of BT.601" if self.convert_to == "Y" else "all channels"
        MMLogger.get_current_instance().info(
            f"{self.key}: mean over {len(results)} images, {channels}, border of {self.crop_border} pixels cropped"
        )
        return {self.key: float(np.mean([value for _, value in results]))}


@METRICS.register_module()
class PSNR(ImageMetric):
    """Mean PSNR in decibels, key ``PSNR`` (RGB) or ``PSNR_Y``; see `psnr`. mmagic's name and arguments.

    Args:
        crop_border: Pixels that do not count on each side; papers crop ``scale``.
        convert_to: ``Y`` scores the luma. None: RGB.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the name of the result. None: none.
    """

    name = "PSNR"
    function = staticmethod(psnr)


@METRICS.register_module()
class SSIM(ImageMetric):
    """Mean SSIM, key ``SSIM`` (RGB) or ``SSIM_Y``; see `ssim`. mmagic's name and arguments.

    Args:
        crop_border: Pixels that do not count on each side; papers crop ``scale``.
        convert_to: ``Y`` scores the luma. None: RGB.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the name of the result. None: none.
    """

    name = "SSIM"
    function = staticmethod(ssim)


def to_uint8(image: Tensor) -> np.ndarray:
    """Return an image as uint8 [H, W, C].

    Args:
        image: [C, H, W], uint8 or float in [0, 1]; values outside are clamped, others rounded to the nearest.
    """
    if image.is_floating_point():
        image = (image.detach().float().clamp(0, 1) * 255).round()
    return image.cpu().numpy().astype(np.uint8).transpose(1, 2, 0)
