from __future__ import annotations

import cv2
import numpy as np
import pytest

from foveal.data.transforms import PhotoMetricDistortion
from foveal.registry import TRANSFORMS


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 200, (16, 18, 3), dtype=np.uint8)


def distorted(image, sample=(), **arguments):
    neutral = dict(brightness_delta=0, contrast_range=(1, 1), saturation_range=(1, 1), hue_delta=0)
    transform = PhotoMetricDistortion(**{**neutral, **arguments})
    return [transform({"img": image, **dict(sample)})["img"] for _ in range(40)]


def test_neutral_ranges_only_reorder_the_channels(image):
    np.random.seed(0)
    for result in distorted(image):
        assert result.dtype == np.float32
        assert np.allclose(np.sort(result, axis=2), np.sort(image.astype(np.float32), axis=2), atol=1e-2)


def test_brightness_and_contrast_move_the_mean(image):
    np.random.seed(0)
    deltas = [result.mean() - image.mean() for result in distorted(image, brightness_delta=32)]
    assert -32.1 < min(deltas) < -20 and 20 < max(deltas) < 32.1
    factors = [result.mean() / image.mean() for result in distorted(image, contrast_range=(0.5, 1.5))]
    assert 0.49 < min(factors) < 0.7 and 1.3 < max(factors) < 1.51


def test_hue_turns_and_keeps_the_brightest_channel(image):
    np.random.seed(2)
    before = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2HSV)
    turned = [r for r in distorted(image, hue_delta=18) if not np.allclose(np.sort(r), np.sort(image), atol=1)]
    assert turned
    for result in turned:
        assert np.allclose(result.max(axis=2), before[..., 2], atol=1e-2)


def hue_of(image):
    return cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2HSV)[..., 0]


@pytest.mark.parametrize("sample", [{}, {"gt_seg_map": np.zeros((16, 18), np.uint8)}], ids=["mmdet", "mmseg"])
def test_saturation_ends_where_colours_are_pure(image, sample):
    image[..., 0] = 0
    np.random.seed(0)
    for result in distorted(image, sample, saturation_range=(1.5, 1.5)):
        assert result.min() > -1e-3


def test_a_segmentation_sample_is_distorted_as_in_mmseg(image):
    seg = {"gt_seg_map": np.zeros(image.shape[:2], np.uint8)}
    np.random.seed(0)
    for result in distorted(image, seg):
        assert result.dtype == np.uint8
        assert np.array_equal(result, image)  # the channels keep their order
    results = distorted(image, seg, brightness_delta=90, contrast_range=(0.5, 1.5))
    assert min(r.min() for r in results) == 0 and max(r.max() for r in results) == 255
    red = np.zeros_like(image) + np.array([100, 100, 200], np.uint8)
    turns = [(hue_of(r).mean() + 180) % 360 - 180 for r in distorted(red, seg, hue_delta=18)]
    assert -36.5 < min(turns) < -20 and 20 < max(turns) < 36.5
    with_boxes = seg | {"gt_bboxes": np.zeros((0, 4), np.float32)}
    assert all(r.dtype == np.float32 for r in distorted(image, with_boxes))


def test_mmcvs_normalize_is_found(image):
    transform = TRANSFORMS.build(dict(type="Normalize", mean=[3, 2, 1], std=[1, 2, 4], to_rgb=True))
    expected = (image[..., ::-1].astype(np.float32) - [3, 2, 1]) / [1, 2, 4]
    assert np.allclose(transform({"img": image.astype(np.float32)})["img"], expected, atol=1e-4)
