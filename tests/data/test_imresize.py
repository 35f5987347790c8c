from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from foveal.data.imresize import imresize
from foveal.errors import ConfigError

NAMES = ("baby", "bird", "butterfly", "head", "woman")


def keys(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_line(line: np.ndarray, out_length: int, scale: float, antialiasing: bool) -> np.ndarray:
    """One line of pixels, by the definition: every input pixel of the mirrored line, weighted by its distance."""
    stretch = min(scale, 1.0) if antialiasing else 1.0
    result = []
    for i in range(out_length):
        centre = (i + 0.5) / scale - 0.5
        reach = 2 / stretch
        total = weight_sum = 0.0
        for j in range(math.floor(centre - reach) - 1, math.ceil(centre + reach) + 2):
            weight = keys((centre - j) * stretch)
            period = j % (2 * len(line))
            total += weight * line[period if period < len(line) else 2 * len(line) - 1 - period]
            weight_sum += weight
        result.append(total / weight_sum)
    return np.array(result)


def slow(image: np.ndarray, scales: tuple[float, float], antialiasing: bool = True) -> np.ndarray:
    for axis in (0, 1) if scales[0] <= scales[1] else (1, 0):
        out_length = math.ceil(image.shape[axis] * scales[axis])
        image = np.apply_along_axis(slow_line, axis, image, out_length, scales[axis], antialiasing)
    return image


@pytest.mark.parametrize("antialiasing", [True, False])
@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 0.37, 1.0, 2, 3, 2.6, (0.5, 1.7), (1.4, 0.3)])
def test_equals_the_definition(scale, antialiasing):
    image = np.random.default_rng(0).random((13, 18))
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    expected = slow(image, scales, antialiasing)
    result = imresize(image, scale, antialiasing=antialiasing)
    assert result.dtype == image.dtype and result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_uint8_is_rounded_after_each_pass_or_once():
    image = np.random.default_rng(1).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    exact = np.stack([slow(image[..., c].astype(float), (0.5, 0.5)) for c in range(3)], axis=2)
    once = imresize(image, 0.5, rounding=None)
    assert once.dtype == np.uint8 and np.array_equal(once, np.clip(np.floor(exact + 0.5), 0, 255))
    rows = np.apply_along_axis(slow_line, 0, image.astype(float), 12, 0.5, True)
    rows = np.clip(np.floor(rows + 0.5), 0, 255)
    both = np.clip(np.floor(np.apply_along_axis(slow_line, 1, rows, 15, 0.5, True) + 0.5), 0, 255)
    assert np.array_equal(imresize(image, 0.5), both)
    assert not np.array_equal(once, both)


def test_output_shape_and_dtypes():
    image = np.random.default_rng(2).random((10, 20, 3)).astype(np.float32)
    assert imresize(image, output_shape=(7, 31)).shape == (7, 31, 3)
    assert imresize(image, 0.5).dtype == np.float32
    np.testing.assert_array_equal(imresize(image, output_shape=(5, 10)), imresize(image, 0.5))
    assert imresize(image, 0.3).shape == (3, 6, 3)
    constant = np.full((9, 9), 77, np.uint8)
    assert (imresize(constant, 1 / 3) == 77).all() and (imresize(constant, 3.7) == 77).all()


def test_linear_method_interpolates():
    ramp = np.arange(8.0)[None].repeat(2, 0)
    assert imresize(ramp, (1.0, 2.0), method="bilinear")[0, 3:6].tolist() == [1.25, 1.75, 2.25]


@pytest.mark.parametrize(
    "arguments",
    [{}, dict(scale=2, output_shape=(4, 4)), dict(scale=0), dict(scale=2, method="lanczos"), dict(scale=2, rounding=1)],
)
def test_mistakes_are_explained(arguments):
    with pytest.raises(ConfigError, match="imresize"):
        imresize(np.zeros((4, 4)), **arguments)


def set5(shared, name: str, scale: int) -> np.ndarray:
    image = cv2.imread(str(shared / "data/sr/Set5/HR" / f"{name}.png"))
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_set5_is_matlabs_to_the_last_bit(shared, scale):
    for name in NAMES:
        expected = cv2.imread(str(shared / f"data/sr/Set5/LR_bicubic/X{scale}/{name}x{scale}.png"))
        # this set's x8 was made in floating point and rounded once
        result = imresize(set5(shared, name, scale), 1 / scale, rounding=None if scale == 8 else "uint8")
        assert np.array_equal(result, expected), name


@pytest.mark.parametrize(("scale", "expected"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_on_set5_by_the_srcnn_protocol(shared, scale, expected):
    """PSNR of the luma, shrunk and enlarged in floating point, border of ``scale`` pixels left out."""
    values = []
    for name in NAMES:
        bgr = set5(shared, name, scale).astype(float)
        luma = np.floor(bgr @ np.array([24.966, 128.553, 65.481]) / 255 + 16.5)
        result = imresize(imresize(luma / 255, 1 / scale), scale)
        result = np.clip(np.floor(result * 255 + 0.5), 0, 255)
        error = (result - luma)[scale:-scale, scale:-scale]
        values.append(10 * math.log10(255**2 / np.mean(error**2)))
    assert round(float(np.mean(values)), 2) == expected
