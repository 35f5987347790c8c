from __future__ import annotations

import mmcv
import numpy as np
import pytest

from foveal.data.transforms import (
    FixScaleResize,
    RandomChoiceResize,
    RandomResize,
    Resize,
    ResizeEdge,
    ResizeToMultiple,
)
from foveal.data.transforms import ResizeShortestEdge as ShortestEdge
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS


@pytest.mark.parametrize("shape", [(480, 640), (427, 640), (640, 361), (37, 1001), (333, 333)])
@pytest.mark.parametrize("scale", [(1333, 800), (512, 2048), (100, 99)])
def test_sizes_are_mmcvs(shape, scale):
    width, height = mmcv.rescale_size(shape[::-1], scale)
    results = Resize(scale=scale, keep_ratio=True)({"img": np.zeros((*shape, 3), np.uint8)})
    assert results["img"].shape == (height, width, 3)
    assert results["scale_factor"] == (width / shape[1], height / shape[0])


def test_a_sliver_keeps_a_pixel():
    assert Resize(scale=(64, 64), keep_ratio=True)({"img": np.zeros((2, 900), np.uint8)})["img"].shape == (1, 64)


def test_image_is_opencvs(make_sample):
    sample = make_sample()
    expected = mmcv.imresize(sample["img"], (50, 40))
    assert np.array_equal(Resize(scale=(50, 40))(sample)["img"], expected)


def test_scale_factor_adds_up_over_two_resizes(make_sample):
    sample = Resize(scale=(40, 30))(Resize(scale_factor=2.0)(make_sample(shape=(60, 80))))
    assert sample["scale_factor"] == (0.5, 0.5)


def test_boxes_beyond_the_border_are_clipped_on_request(make_sample):
    for clip, right in ((True, 160.0), (False, 180.0)):
        sample = make_sample(shape=(60, 80))
        sample["gt_bboxes"][0, 2] = 90
        assert Resize(scale_factor=2.0, clip_object_border=clip)(sample)["gt_bboxes"][0, 2] == right


def test_fix_scale_rounds_down():
    image = {"img": np.zeros((427, 640, 3), np.uint8)}
    assert Resize(scale=(1333, 800), keep_ratio=True)(dict(image))["img_shape"] == (800, 1199)
    assert FixScaleResize(scale=(1200, 790), keep_ratio=True)(dict(image))["img_shape"] == (790, 1184)


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 200), (50, 100)), ((100, 800), (16, 128)), ((90, 60), (75, 50))]
)
def test_shortest_edge(shape, expected):
    assert ShortestEdge(scale=50, max_size=128)({"img": np.zeros(shape, np.uint8)})["img_shape"] == expected


def test_to_multiple_is_mmcvs(make_sample):
    sample = make_sample(shape=(60, 96))
    expected = mmcv.imresize_to_multiple(sample["img"], divisor=32, scale_factor=1)
    sample = ResizeToMultiple(size_divisor=32)(sample)
    assert np.array_equal(sample["img"], expected) and sample["img_shape"] == (64, 96)
    assert sample["scale_factor"] == (1.0, 64 / 60)


@pytest.mark.parametrize(
    ("edge", "expected"), [("short", (32, 64)), ("long", (16, 32)), ("width", (16, 32)), ("height", (32, 64))]
)
def test_edge(edge, expected):
    assert ResizeEdge(scale=32, edge=edge)({"img": np.zeros((50, 100), np.uint8)})["img_shape"] == expected


def test_random_sizes_cover_their_range():
    np.random.seed(0)
    image = {"img": np.zeros((100, 100), np.uint8)}
    ratio = RandomResize(scale=(100, 100), ratio_range=(0.1, 2.0), keep_ratio=True)
    sizes = [ratio(dict(image))["img_shape"][0] for _ in range(200)]
    assert min(sizes) >= 10 and max(sizes) < 200
    assert min(sizes) < 25 and max(sizes) > 180
    between = RandomResize(scale=[(30, 40), (32, 50)])
    assert {between(dict(image))["scale"][0] for _ in range(60)} == {30, 31, 32}
    choice = RandomChoiceResize(scales=[(20, 20), (40, 40)])
    assert {choice(dict(image))["scale_idx"] for _ in range(20)} == {0, 1}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="Resize"), "give scale"),
        (dict(type="Resize", scale=(4, 0)), "positive integers"),
        (dict(type="Resize", scale_factor=(1.0, 2.0, 3.0)), "positive numbers"),
        (dict(type="Resize", scale=8, interpolation="cubic"), "bicubic"),
        (dict(type="Resize", scale=8, keep_aspect=True), "keep_ratio"),
        (dict(type="RandomResize", scale=(8, 8)), "ratio_range"),
        (dict(type="RandomChoiceResize", scales=[8], resize_type="ResizeShortestEdge"), "max_size"),
        (dict(type="ResizeEdge", scale=8, edge="shortest"), "short, long"),
    ],
)
def test_mistakes_are_explained(config, message):
    with pytest.raises(ConfigError, match=message):
        TRANSFORMS.build(config)
