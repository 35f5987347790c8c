"""PSNR and SSIM: by hand, against an independent formulation, and SRCNN's table on Set5."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from foveal.data.imresize import imresize
from foveal.errors import ConfigError, DataError
from foveal.evaluation.psnr_ssim import psnr, rgb_to_y, ssim
from foveal.registry import METRICS


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sharp = gaussian_filter(rng.uniform(0, 255, (40, 53, 3)), (2, 2, 0))
    sharp = (255 * (sharp - sharp.min()) / np.ptp(sharp)).astype(np.uint8)
    noisy = np.clip(sharp + rng.normal(0, 8, sharp.shape), 0, 255).astype(np.uint8)
    return sharp, noisy


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al., eq. 13, with scipy's Gaussian cut at 5 pixels: the same window of 11."""

    def blur(x):
        return gaussian_filter(x, 1.5, radius=5, mode="constant")[5:-5, 5:-5]

    a, b = a.astype(float), b.astype(float)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    c1, c2 = 6.5025, 58.5225
    luminance = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
    return float((luminance * (2 * cov + c2) / (va + vb + c2)).mean())


def test_luma():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert rgb_to_y(colours)[0] == pytest.approx([16, 235, 81.481, 144.553, 40.966])


def test_psnr_by_hand(pair):
    a, b = pair
    mse = np.mean((a[3:-3, 3:-3].astype(float) - b[3:-3, 3:-3]) ** 2)
    assert psnr(a, b, 3) == pytest.approx(10 * np.log10(255**2 / mse))
    assert psnr(a, a) == float("inf")
    assert psnr(a, b, 3, "Y") == pytest.approx(psnr(rgb_to_y(a), rgb_to_y(b), 3))
    assert psnr(np.zeros((20, 20)), np.ones((20, 20))) == pytest.approx(48.1308, abs=1e-4)


@pytest.mark.parametrize("border", [0, 4])
def test_ssim_equals_the_slow_one(pair, border):
    a, b = (x[border : x.shape[0] - border, border : x.shape[1] - border] for x in pair)
    expected = np.mean([slow_ssim(a[..., c], b[..., c]) for c in range(3)])
    assert ssim(*pair, border) == pytest.approx(expected, abs=1e-9)
    assert ssim(*pair, border, "Y") == pytest.approx(slow_ssim(rgb_to_y(a), rgb_to_y(b)), abs=1e-9)
    assert ssim(pair[0], pair[0]) == pytest.approx(1.0)


def test_wrong_input(pair):
    a, b = pair
    with pytest.raises(ValueError, match=r"\(40, 53, 3\) and \(39, 53, 3\)"):
        psnr(a, b[1:])
    with pytest.raises(ValueError, match="leaves nothing"):
        psnr(a, b, 20)
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(a, b, 15)
    with pytest.raises(ConfigError, match="'y'"):
        METRICS.build({"type": "PSNR", "convert_to": "y"})


@pytest.mark.parametrize("convert_to", [None, "Y"])
def test_metrics_read_samples(pair, convert_to):
    a, b = (torch.from_numpy(x).permute(2, 0, 1) for x in pair)
    # a prediction beyond [0, 1] is clamped, a fraction rounded
    samples = [
        {"gt_img": a, "pred_img": b / 255 + 0.001},
        {"gt_img": a, "pred_img": torch.where(b == 255, 2.0, b / 255)},
    ]
    for name, function in (("PSNR", psnr), ("SSIM", ssim)):
        metric = METRICS.build({"type": name, "crop_border": 2, "convert_to": convert_to})
        metric.process(None, samples)
        key = name if convert_to is None else f"{name}_Y"
        assert metric.evaluate(2) == {key: pytest.approx(function(*pair, 2, convert_to), abs=1e-9)}


def test_sizes_that_differ_name_the_image(pair):
    a = torch.from_numpy(pair[0]).permute(2, 0, 1)
    metric = METRICS.build({"type": "PSNR"})
    with pytest.raises(DataError, match=r"baby\.png: the images"):
        metric.process(None, [{"gt_img": a, "pred_img": a[:, 1:] / 255, "img_path": "baby.png"}])


@pytest.mark.parametrize(("scale", "table"), [(2, (33.66, 0.9299)), (3, (30.39, 0.8682)), (4, (28.42, 0.8104))])
def test_bicubic_on_set5_gives_srcnns_table(shared: Path, scale: int, table: tuple[float, float]):
    """The protocol in the docstring of `psnr`; the SSIM of the same table comes out as well."""
    scores = []
    for path in sorted((shared / "data/sr/Set5/HR").glob("*.png")):
        sharp = cv2.imread(str(path))[..., ::-1]
        height, width = (side - side % scale for side in sharp.shape[:2])
        luma = np.round(rgb_to_y(sharp[:height, :width]))
        enlarged = imresize(imresize(luma, 1 / scale), scale)
        enlarged = np.clip(np.round(enlarged), 0, 255)
        scores.append((psnr(enlarged, luma, scale), ssim(enlarged, luma, scale)))
    assert len(scores) == 5
    found = np.mean(scores, axis=0)
    assert (round(found[0], 2), round(found[1], 4)) == table


@pytest.mark.parametrize(("scale", "expected"), [(2, 33.67), (3, 30.40), (4, 28.43)])
def test_bicubic_from_the_8_bit_files_of_set5(shared: Path, scale: int, expected: float):
    """The usual way since EDSR: 8-bit RGB files, luma unrounded; within 0.02 dB of the table."""
    root, scores = shared / "data/sr/Set5", []
    for path in sorted((root / f"LR_bicubic/X{scale}").glob("*.png")):
        low = cv2.imread(str(path))
        enlarged = imresize(low, scale)
        sharp = cv2.imread(str(root / "HR" / path.name.replace(f"x{scale}", "")))
        height, width = enlarged.shape[:2]
        scores.append(psnr(enlarged[..., ::-1], sharp[:height, :width, ::-1], scale, "Y"))
    assert np.mean(scores) == pytest.approx(expected, abs=0.005)
