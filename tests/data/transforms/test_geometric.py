from __future__ import annotations

import numpy as np
import pytest

from foveal.data.transforms import Pad, RandomFlip
from foveal.errors import ConfigError

FLIPS = {"horizontal": np.s_[:, ::-1], "vertical": np.s_[::-1], "diagonal": np.s_[::-1, ::-1]}


@pytest.mark.parametrize("direction", FLIPS)
def test_flip_moves_everything(direction, make_sample, boxes_of):
    before, sample = make_sample(pair=True), make_sample(pair=True)
    sample = RandomFlip(prob=1.0, direction=direction)(sample)
    assert sample["flip"] is True and sample["flip_direction"] == direction
    for key in ("img", "gt_img", "gt_seg_map"):
        assert np.array_equal(sample[key], before[key][FLIPS[direction]]), key
    assert np.array_equal(sample["gt_bboxes"], boxes_of(sample["gt_masks"]))
    twice = RandomFlip(prob=1.0, direction=direction)(sample)
    assert np.array_equal(twice["gt_bboxes"], before["gt_bboxes"])


def test_flip_probabilities(make_sample):
    np.random.seed(0)
    flip = RandomFlip(prob=[0.2, 0.5], direction=["horizontal", "vertical"])
    drawn = [flip(make_sample(count=0))["flip_direction"] for _ in range(1000)]
    shares = {name: drawn.count(name) / 1000 for name in ("horizontal", "vertical", None)}
    assert shares == pytest.approx({"horizontal": 0.2, "vertical": 0.5, None: 0.3}, abs=0.05)
    assert RandomFlip(prob=0.0)(make_sample())["flip_direction"] is None


@pytest.mark.parametrize(
    "arguments", [dict(prob=1.2), dict(prob=[0.5], direction=["horizontal", "vertical"]), dict(prob=1, direction="up")]
)
def test_wrong_flips_are_explained(arguments):
    with pytest.raises(ConfigError, match="RandomFlip"):
        RandomFlip(**arguments)


def test_pad_fills_each_part_with_its_value(make_sample):
    before, sample = make_sample(), make_sample()
    sample = Pad(size=(100, 70), pad_val=dict(img=(1, 2, 3), seg=9))(sample)
    height, width = before["img_shape"]
    assert sample["pad_shape"] == sample["img_shape"] == (70, 100)
    assert np.array_equal(sample["img"][:height, :width], before["img"])
    assert (sample["img"][height:] == [1, 2, 3]).all() and (sample["img"][:, width:] == [1, 2, 3]).all()
    assert (sample["gt_seg_map"][height:] == 9).all()
    assert not sample["gt_masks"][:, height:].any() and not sample["gt_masks"][:, :, width:].any()
    assert np.array_equal(sample["gt_bboxes"], before["gt_bboxes"])


def test_pad_sizes(make_sample):
    assert Pad(size_divisor=32)(make_sample())["img_shape"] == (64, 96)
    assert Pad(pad_to_square=True)(make_sample())["img_shape"] == (83, 83)
    assert Pad(pad_to_square=True, size_divisor=16)(make_sample())["img_shape"] == (96, 96)
    assert Pad(size=(90, 20))(make_sample())["img_shape"] == (61, 90)
    grown = Pad(size=(90, 90), pad_val=7)(make_sample())
    assert (grown["img"][61:] == 7).all() and (grown["gt_seg_map"][61:] == 255).all()


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric"])
def test_padding_modes_are_numpys(mode, make_sample):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    padded = Pad(size=(37, 26), padding_mode=mode)({"img": image})["img"]
    assert np.array_equal(padded, np.pad(image, ((0, 6), (0, 7), (0, 0)), mode=mode))


@pytest.mark.parametrize("arguments", [{}, dict(size=(8, 8), size_divisor=4), dict(size=(8, 8), padding_mode="wrap")])
def test_wrong_pads_are_explained(arguments):
    with pytest.raises(ConfigError, match="Pad"):
        Pad(**arguments)
