from __future__ import annotations

import numpy as np
import pytest

from foveal.data.transforms import CenterCrop, FilterAnnotations, RandomCrop, RandomResize, RandomResizedCrop
from foveal.errors import ConfigError


def test_crop_cuts_the_same_window_out_of_everything(make_sample):
    np.random.seed(1)
    before = make_sample()
    sample = RandomCrop((30, 40), allow_negative_crop=True)(make_sample())
    assert sample["img_shape"] == (30, 40)
    assert np.array_equal(sample["img"][..., 0], sample["gt_seg_map"] * 40)
    windows = np.lib.stride_tricks.sliding_window_view(before["gt_seg_map"], (30, 40))
    assert (windows == sample["gt_seg_map"]).all(axis=(2, 3)).any()


def test_boxes_are_clipped_and_those_outside_removed(make_sample):
    sample = make_sample(shape=(60, 80))
    sample = CenterCrop((40, 60))(sample)  # leaves x 20 to 60: of four ellipses 20 wide, the middle two
    assert sample["gt_bboxes_labels"].tolist() == [1, 2]
    kept = CenterCrop((46, 60), clip_object_border=False)(make_sample(shape=(60, 80)))
    assert kept["gt_bboxes_labels"].tolist() == [0, 1, 2, 3]
    assert kept["gt_bboxes"][0, 0] < 0 and kept["gt_bboxes"][3, 2] > 46
    clipped = CenterCrop((46, 60))(make_sample(shape=(60, 80)))
    assert clipped["gt_bboxes"][0, 0] == 0 and clipped["gt_bboxes"][3, 2] == 46


def test_recomputed_boxes_are_those_of_the_masks(make_sample, boxes_of):
    for seed in range(30):
        np.random.seed(seed)
        sample = RandomCrop((25, 33), recompute_bbox=True, allow_negative_crop=True)(make_sample())
        assert np.array_equal(sample["gt_bboxes"], boxes_of(sample["gt_masks"]))
        assert sample["gt_masks"].any(axis=(1, 2)).all()


def test_a_crop_without_boxes_is_given_up_unless_allowed(make_sample):
    sample = make_sample()
    sample["gt_bboxes"][:] = [0, 0, 1, 1]
    corner = [RandomCrop((20, 20))({**sample, "gt_bboxes": sample["gt_bboxes"].copy()}) for _ in range(20)]
    assert None in corner
    assert RandomCrop((20, 20))(make_sample(count=0)) is None
    assert RandomCrop((20, 20), allow_negative_crop=True)(make_sample(count=0)) is not None


def test_a_small_image_keeps_its_size(make_sample):
    assert RandomCrop((500, 30))(make_sample())["img_shape"] == (61, 30)
    assert CenterCrop(500)(make_sample())["img_shape"] == (61, 83)


def test_cat_max_ratio_avoids_windows_of_one_class():
    seg = np.zeros((64, 256), np.uint8)
    seg[:, 200:] = 1
    seg[:, :20] = 255
    np.random.seed(0)

    def shares(ratio):
        for _ in range(100):
            sample = {"img": seg.copy(), "gt_seg_map": seg.copy()}
            yield np.mean(RandomCrop(32, cat_max_ratio=ratio)(sample)["gt_seg_map"] == 1)

    mixed = [sum(0.25 < share < 0.75 for share in shares(ratio)) for ratio in (1.0, 0.75)]
    assert mixed[0] < 15 and mixed[1] > 3 * mixed[0]


def test_large_scale_jitter(make_sample, boxes_of):
    """RandomResize and RandomCrop as mmdet's LSJ configs have them: sizes vary 20-fold and all stays consistent."""
    resize = RandomResize(scale=(64, 64), ratio_range=(0.1, 2.0), keep_ratio=True)
    crop = RandomCrop((64, 64), crop_type="absolute", recompute_bbox=True, allow_negative_crop=True)
    keep = FilterAnnotations(min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False)
    sizes = []
    for seed in range(60):
        np.random.seed(seed)
        sample = keep(crop(resize(make_sample(shape=(60, 80)))))
        sizes.append(sample["scale_factor"][0])
        height, width = sample["img_shape"]
        assert height <= 64 and width <= 64
        assert np.array_equal(sample["gt_bboxes"], boxes_of(sample["gt_masks"]))
        for label, mask in zip(sample["gt_bboxes_labels"], sample["gt_masks"], strict=True):
            assert np.array_equal(mask > 0, sample["gt_seg_map"] == label + 1)
    assert max(sizes) / min(sizes) > 10


def test_random_resized_crop(make_sample):
    np.random.seed(0)
    crop = RandomResizedCrop(32, crop_ratio_range=(0.2, 0.5))
    for _ in range(20):
        sample = crop(make_sample(shape=(100, 100)))
        assert sample["img_shape"] == (32, 32)
        area = np.prod([32 / factor for factor in sample["scale_factor"]]) / 1e4
        assert 0.18 < area < 0.52
    # no window of such a share and aspect fits: the middle is taken
    sliver = RandomResizedCrop(32, crop_ratio_range=(0.9, 1.0))({"img": np.zeros((10, 200), np.uint8)})
    assert sliver["scale_factor"] == (32 / 13, 3.2)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(crop_size=(0, 4)),
        dict(crop_size=(2, 2), crop_type="relative"),
        dict(crop_size=2, crop_type="relative_range"),
        dict(crop_size=0.5),
        dict(crop_size=(9, 4), crop_type="absolute_range"),
        dict(crop_size=(4, 4), crop_type="abs"),
    ],
)
def test_wrong_crops_are_explained(arguments):
    with pytest.raises(ConfigError, match="RandomCrop"):
        RandomCrop(**arguments)
