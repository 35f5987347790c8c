"""Noise, JPEG, kernels and mosaics, and the steps of a pipeline that use them."""

import cv2
import numpy as np
import pytest

from foveal.data.degradations import (
    KERNELS,
    blur,
    blur_kernel,
    gaussian_noise,
    jpeg,
    mosaic,
    poisson_noise,
    sinc_kernel,
)
from foveal.data.transforms.degrade import RandomBlurKernel, RealESRGANDegradation
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    small = rng.integers(30, 226, (8, 10, 3), dtype=np.uint8)
    return cv2.resize(small, (80, 64), interpolation=cv2.INTER_CUBIC)


def test_noise_of_a_seed_is_that_of_the_official_test(image):
    """SwinIR's main_test: numpy's global generator, seeded by 0 for each image, in units of 1."""
    np.random.seed(0)
    theirs = image.astype(np.float32) / 255 + np.random.normal(0, 25 / 255, image.shape)
    results = TRANSFORMS.build({"type": "GaussianNoise", "sigma": 25, "seed": 0})({"gt_img": image, "gt_img_path": "a"})
    assert results["img"].dtype == np.float32 and results["img_path"] == "a" and results["gt_img"] is image
    np.testing.assert_allclose(results["img"] / 255, theirs, atol=1e-6)


@pytest.mark.parametrize("gray", [False, True])
def test_strength_of_noise(gray):
    rng, flat = np.random.RandomState(0), np.full((200, 200, 3), 100, np.uint8)
    noise = gaussian_noise(flat, 12.0, rng, gray) - 100.0
    assert noise.std() == pytest.approx(12, rel=0.03) and np.ptp(noise, axis=2).max() < (1e-3 if gray else 1e9)
    ramp = np.repeat(np.arange(0, 256, dtype=np.uint8)[None], 400, 0)[..., None].repeat(3, 2)
    noise = poisson_noise(ramp, 1.0, rng, gray) - ramp
    # 256 counts a full pixel: the variance is the value
    for value in (50, 200):
        assert noise[:, value].var() == pytest.approx(value * 255 / 256, rel=0.25)
    assert noise[:, 0].std() == 0


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 1), (64, 80, 3)])
def test_jpeg(image, shape):
    picture = image[..., : shape[2]] if len(shape) == 3 else image[..., 0]
    worse, better = jpeg(picture, 10), jpeg(picture, 95)
    assert worse.shape == shape and worse.dtype == np.uint8
    errors = [np.abs(result.astype(int) - picture).mean() for result in (worse, better)]
    assert errors[0] > 3 * errors[1] > 0


@pytest.mark.parametrize("kind", KERNELS)
def test_kernels(kind):
    kernel = blur_kernel(kind, 21, (3.0, 1.0), np.pi / 6, 1.0)
    assert kernel.sum() == pytest.approx(1) and kernel.min() >= 0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1])
    y, x = np.indices(kernel.shape) - 10
    if kind in ("aniso", "generalized_aniso"):
        moments = np.array([[np.sum(kernel * a * b) for b in (x, y)] for a in (x, y)])
        values, vectors = np.linalg.eigh(moments)
        np.testing.assert_allclose(values, [1, 9], rtol=0.05)
        assert abs(vectors[0, 1] / np.hypot(*vectors[:, 1])) == pytest.approx(np.cos(np.pi / 6), abs=0.02)
    if "aniso" not in kind:
        np.testing.assert_allclose(kernel, kernel.T)


def test_a_sinc_filter_passes_low_frequencies_and_rings():
    kernel = sinc_kernel(np.pi / 2, 21)
    assert kernel.sum() == pytest.approx(1) and kernel.min() < -1e-3 and kernel.argmax() == 220
    step = np.zeros((40, 40), np.uint8)
    step[:, 20:] = 200
    assert blur(step, kernel).max() > 205


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("quad", [False, True])
def test_mosaic(image, pattern, quad):
    raw = mosaic(image, pattern, quad)
    step = 2 if quad else 1
    for y in range(9):
        for x in range(9):
            letter = pattern[y // step % 2 * 2 + x // step % 2]
            assert raw[y, x] == image[y, x, "BGR".index(letter)]


def test_event_pixels_see_nothing():
    white = np.full((8, 12, 3), 200, np.uint8)
    raw = mosaic(white, "RGGB", quad=True, event_pixels=True)
    assert [tuple(p) for p in np.argwhere(raw[:4, :4] == 0)] == [(0, 0), (2, 2)]
    assert (raw == 0).sum() == 2 * 6 and set(np.unique(raw)) == {0, 200}


def test_holes(image):
    np.random.seed(0)
    results = TRANSFORMS.build({"type": "RandomHoles"})({"gt_img": image})
    assert results["img"].shape == (64, 80, 4) and set(np.unique(results["img"][..., 3])) == {0, 255}
    np.testing.assert_array_equal(results["img"][..., :3], image[..., ::-1])


def test_steps_follow_each_other(image):
    steps = [{"type": "RandomBlurKernel"}, {"type": "PoissonNoise"}, {"type": "JPEGCompression", "quality": [20, 40]}]
    results = {"gt_img": image}
    np.random.seed(3)
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    assert results["img"].dtype == np.uint8 and results["img_shape"] == (64, 80)
    assert np.abs(results["img"].astype(int) - image).mean() > 1


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_real_esrgans_chain(image, scale):
    chain, seen = RealESRGANDegradation(scale), []
    for seed in range(12):
        np.random.seed(seed)
        results = chain({"gt_img": image})
        assert results["img"].shape == (64 // scale, 80 // scale, 3) and results["img"].dtype == np.uint8
        seen.append(results["img"])
    np.random.seed(11)
    np.testing.assert_array_equal(chain({"gt_img": image})["img"], seen[-1])
    assert len({picture.tobytes() for picture in seen}) == 12
    small = cv2.resize(image, (80 // scale, 64 // scale), interpolation=cv2.INTER_AREA)
    # worse, but of the same scene
    assert 1 < np.mean([np.abs(picture.astype(int) - small).mean() for picture in seen]) < 40


def test_kinds_of_kernels_are_drawn_as_often_as_said():
    step = RandomBlurKernel(kinds=["iso", "aniso"], kind_probs=[3, 1], sizes=[7], sinc_prob=0.0)
    np.random.seed(0)
    alike = [np.allclose(kernel, kernel.T) for kernel in (step.kernel() for _ in range(300))]
    assert np.mean(alike) == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "GaussianNoise", "sigma": -1}, "sigma is a number of at least 0, or a range .* got -1"),
        ({"type": "JPEGCompression", "quality": (90, 10)}, r"quality is a number of at least 1.* got \(90, 10\)"),
        ({"type": "BayerMosaic", "pattern": "RGB"}, "such as 'RGGB', got 'RGB'"),
        ({"type": "BayerMosaic", "event_pixels": True}, "need quad=True"),
        ({"type": "RandomBlurKernel", "kinds": ["box"], "kind_probs": [1]}, r"got \['box'\]"),
    ],
)
def test_wrong_arguments_are_named(step, message):
    with pytest.raises(ConfigError, match=message):
        TRANSFORMS.build(step)
