from __future__ import annotations

import numpy as np
import pytest

from foveal.data.imresize import imresize
from foveal.data.transforms import (
    Flip,
    MATLABLikeResize,
    ModCrop,
    PairedRandomCrop,
    RandomFlip,
    RandomTransposeHW,
)
from foveal.errors import ConfigError, DataError


def pair(shape=(24, 36), scale=3, grey=False) -> dict:
    """A low-quality image whose pixels are numbered, and the sharp one that repeats each of them."""
    low = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    if not grey:
        low = np.stack([low, low + 1, low + 2], axis=2)
    return {"img": low, "gt_img": low.repeat(scale, 0).repeat(scale, 1), "img_shape": shape}


def fits(results: dict, scale: int = 3) -> bool:
    return np.array_equal(results["img"].repeat(scale, 0).repeat(scale, 1), results["gt_img"])


@pytest.mark.parametrize("grey", [False, True])
def test_the_pair_stays_aligned_through_crop_and_turns(grey):
    turns = set()
    steps = [PairedRandomCrop(gt_patch_size=30, scale=3), Flip(), Flip(direction="vertical"), RandomTransposeHW()]
    for seed in range(60):
        np.random.seed(seed)
        results = pair(grey=grey)
        for step in steps:
            results = step(results)
            assert fits(results)
        assert results["img_shape"] == (10, 10)
        plane = results["img"].reshape(10, 10, -1)[..., 0].astype(int)
        turns.add((plane[0, 1] - plane[0, 0], plane[1, 0] - plane[0, 0]))
    assert len(turns) == 8


def test_mmdets_flip_moves_both_images():
    assert fits(RandomFlip(prob=1.0)(pair()))


def test_crops_reach_every_corner():
    np.random.seed(0)
    corners = {int(PairedRandomCrop(66, 3)(pair())["img"][0, 0, 0]) for _ in range(500)}
    assert {0, 14, 2 * 36, 2 * 36 + 14} <= corners


def test_the_sharp_image_is_cropped_alone_where_the_other_is_still_to_be_made():
    results = {"gt_img": np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3), "gt_img_path": "a.png"}
    results = MATLABLikeResize(scale=0.5)(PairedRandomCrop(32, 2)(results))
    assert results["gt_img"].shape == (32, 32, 3)
    assert np.array_equal(results["img"], imresize(results["gt_img"], 0.5))
    assert results["img_shape"] == results["ori_shape"] == (16, 16)
    assert results["img_path"] == "a.png"


@pytest.mark.parametrize(("shape", "expected"), [((25, 38), (24, 36)), ((24, 36), (24, 36))])
def test_mod_crop(shape, expected):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    results = ModCrop(3)({"gt_img": image})
    assert np.array_equal(results["gt_img"], image[: expected[0], : expected[1]])
    with pytest.raises(DataError, match="smaller than the scale"):
        ModCrop(30)({"gt_img": image, "gt_img_path": "a.png"})


def test_resize_in_place():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    results = MATLABLikeResize(keys=["img"], output_keys=["img"], output_shape=(10, 8))({"img": image})
    assert np.array_equal(results["img"], imresize(image, output_shape=(10, 8)))


def test_pairs_that_do_not_fit_are_named():
    with pytest.raises(DataError, match=r"low\.png is 36x24, high\.png is 108x72"):
        PairedRandomCrop(8, 4)(pair() | {"img_path": "low.png", "gt_img_path": "high.png"})
    with pytest.raises(DataError, match=r"low\.png.*108x72.*smaller than gt_patch_size 300"):
        PairedRandomCrop(300, 3)(pair() | {"img_path": "low.png"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairedRandomCrop(32, 3), "no multiple"),
        (lambda: MATLABLikeResize(), "scale or output_shape"),
        (lambda: MATLABLikeResize(keys=["gt"], scale=0.5), "gt_img"),
        (lambda: MATLABLikeResize(keys=["gt_img", "img"], scale=0.5), "2 keys"),
        (lambda: Flip(direction="diagonal"), "vertical"),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_small_images_are_mirrored_where_that_is_chosen():
    results = PairedRandomCrop(gt_patch_size=48, scale=3, pad=True)(pair((10, 20)))
    assert results["gt_img"].shape == (48, 48, 3) and fits(results)
    with pytest.raises(DataError, match="60x30, smaller than gt_patch_size 48"):
        PairedRandomCrop(gt_patch_size=48, scale=3)(pair((10, 20)))
