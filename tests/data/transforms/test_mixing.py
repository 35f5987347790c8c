"""Transforms that mix several samples: every instance stays on its own pixels."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.data import MultiImageMixDataset
from foveal.data.samplers import SampleIndex
from foveal.data.transforms.affine import RandomAffine, project_boxes
from foveal.errors import ConfigError, DataError
from foveal.registry import TRANSFORMS

SHAPES = [(61, 83), (37, 113), (97, 45), (64, 64), (80, 60), (50, 50)]
SCALE = dict(img_scale=(64, 48))
MIXERS = {
    "Mosaic": dict(SCALE, pad_val=7),
    "CachedMosaic": dict(SCALE, pad_val=7, max_cached_images=5, random_pop=False),
    "MixUp": dict(SCALE, ratio_range=(0.8, 1.6)),
    "CachedMixUp": dict(SCALE, ratio_range=(0.8, 1.6)),
    "CopyPaste": dict(mask_occluded_thr=20),
}


def samples(make_sample, shapes=SHAPES, **options):
    """Samples whose labels tell them apart: sample i has the labels 10 i, 10 i + 1, …"""
    made = [make_sample(shape=shape, **options) for shape in shapes]
    for i, sample in enumerate(made):
        sample["gt_bboxes_labels"] = sample["gt_bboxes_labels"] + 10 * i
        sample["gt_seg_map"] = np.where(sample["gt_seg_map"] > 0, sample["gt_seg_map"] + 10 * i, 0).astype(np.uint8)
    return made


def run(name, made):
    """Mix the first sample; cached transforms have seen the others before."""
    transform = TRANSFORMS.build(dict(type=name, **MIXERS[name]))
    if name.startswith("Cached"):
        for sample in made[1:]:
            transform.transform(dict(sample))
    else:
        made[0]["mix_results"] = made[1 : 4 if name == "Mosaic" else 2]
    return transform.transform(made[0])


def shapes_of(name):
    return SHAPES[:1] * 2 if name == "CopyPaste" else SHAPES


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("seed", range(6))
def test_instances_stay_on_their_pixels(name, seed, make_sample, boxes_of):
    np.random.seed(seed)
    made = samples(make_sample, shapes_of(name))
    before = [sample["img"].copy() for sample in made]
    mixed = run(name, made)
    assert all(np.array_equal(a, sample["img"]) for a, sample in zip(before[1:], made[1:], strict=True))
    shape = (96, 128) if "Mosaic" in name else SHAPES[0]
    count = len(mixed["gt_bboxes"])
    assert mixed["img"].shape == (*shape, 3) and tuple(mixed["img_shape"]) == shape
    assert mixed["img"].dtype == np.uint8 and mixed["gt_masks"].shape == (count, *shape)
    assert len(mixed["gt_bboxes_labels"]) == len(mixed["gt_ignore_flags"]) == count > 0
    if name != "CopyPaste":  # which may paste nothing
        assert len(set(mixed["gt_bboxes_labels"] // 10)) > 1
    assert (mixed["gt_bboxes"] >= 0).all() and (mixed["gt_bboxes"] <= np.array(shape * 2)[[1, 0, 1, 0]]).all()
    for label, mask in zip(mixed["gt_bboxes_labels"], mixed["gt_masks"], strict=True):
        if "MixUp" not in name or label < 10:
            assert (mixed["gt_seg_map"][mask > 0] == label + 1).all()
    seen = mixed["gt_masks"].sum((1, 2)) > 20
    tight = boxes_of(mixed["gt_masks"])
    np.testing.assert_allclose(mixed["gt_bboxes"][seen], tight[seen], atol=4 if name != "CopyPaste" else 0)


@pytest.mark.parametrize("name", MIXERS)
def test_a_seed_decides(name, make_sample):
    outputs = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        outputs.append(run(name, samples(make_sample, shapes_of(name)))["img"])
    assert np.array_equal(outputs[0], outputs[1])
    if name != "CopyPaste":  # whose two images are alike here
        assert not np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("name", MIXERS)
def test_images_without_boxes(name, make_sample):
    np.random.seed(0)
    mixed = run(name, samples(make_sample, shapes_of(name), count=0))
    assert mixed["gt_bboxes"].shape == (0, 4) and mixed["gt_masks"].shape == (0, *mixed["img"].shape[:2])


def test_mosaic_fills_what_no_image_covers(make_sample):
    np.random.seed(0)
    made = samples(make_sample)
    for sample in made:
        sample["img"] = np.full_like(sample["img"], 200)
    img = run("Mosaic", made)["img"]
    assert set(np.unique(img)) == {7, 200} and (img == 200).mean() > 0.2


def test_cached_transforms_wait_for_enough_samples(make_sample):
    made = samples(make_sample)
    mosaic = TRANSFORMS.build(dict(type="CachedMosaic", **MIXERS["CachedMosaic"]))
    alone = [mosaic.transform(dict(sample))["img"].shape == sample["img"].shape for sample in made]
    assert alone == [True] * 4 + [False] * 2 and len(mosaic.cache) == 5


def test_copy_paste_covers_and_removes(make_sample):
    target, source = samples(make_sample, SHAPES[:1] * 2)
    source["gt_masks"] = target["gt_masks"][:1].copy()
    source["gt_bboxes"], source["gt_ignore_flags"] = target["gt_bboxes"][:1], target["gt_ignore_flags"][:1]
    source["gt_bboxes_labels"] = np.array([99])
    target["mix_results"] = [source]
    mixed = TRANSFORMS.build(dict(type="CopyPaste", selected=False)).transform(target)
    # the first one is covered whole by the pasted one
    assert mixed["gt_bboxes_labels"].tolist() == [1, 2, 3, 99]
    with pytest.raises(DataError, match="differ in size"):
        TRANSFORMS.build(dict(type="CopyPaste")).transform({**mixed, "mix_results": [make_sample(shape=(9, 9))]})
    bare = {key: mixed[key] for key in ("img", "gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags")}
    with pytest.raises(DataError, match="paste_by_box"):
        TRANSFORMS.build(dict(type="CopyPaste")).transform({**bare, "mix_results": [source]})
    pasted = TRANSFORMS.build(dict(type="CopyPaste", paste_by_box=True)).transform({**bare, "mix_results": [bare]})
    assert "gt_masks" not in pasted


def test_affine_maps_boxes_around_their_corners(make_sample):
    turn = np.array([[0.0, -1, 80], [1, 0, 3], [0, 0, 1]])
    assert project_boxes(np.array([[10.0, 20, 30, 60]], np.float32), turn).tolist() == [[20, 13, 60, 33]]
    np.random.seed(1)
    sample = RandomAffine(max_rotate_degree=45, max_translate_ratio=0)(make_sample())
    for box, mask in zip(sample["gt_bboxes"], sample["gt_masks"], strict=True):
        rows, columns = np.nonzero(mask)
        assert columns.min() >= box[0] - 1 and columns.max() <= box[2] + 1
        assert rows.min() >= box[1] - 1 and rows.max() <= box[3] + 1
    with pytest.raises(ConfigError, match="scaling_ratio_range"):
        RandomAffine(scaling_ratio_range=(2, 1))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Mosaic", dict(prob=2), r"Mosaic: prob must be in \[0, 1\]"),
        ("Mosaic", dict(img_scale=(0, 4)), "img_scale must be"),
        ("CachedMosaic", dict(max_cached_images=3), "at least 4, got 3"),
        ("CachedMixUp", dict(max_cached_images=1), "at least 2, got 1"),
        ("CachedMixUp", dict(prob=-1), "prob must be"),
    ],
)
def test_mistakes_are_named(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        TRANSFORMS.build(dict(type=name, **arguments))


class Few:
    """A dataset of six samples."""

    metainfo = {"classes": ("a", "b")}

    def __init__(self, make_sample):
        self.make = lambda: samples(make_sample)

    def full_init(self):
        pass

    def __len__(self):
        return len(SHAPES)

    def __getitem__(self, index):
        return self.make()[int(index)]


def test_dataset_lays_out_the_other_samples(make_sample):
    steps = [
        dict(type="Mosaic", **MIXERS["Mosaic"]),
        dict(type="MixUp", **MIXERS["MixUp"]),
        dict(type="RandomFlip", prob=0.5),
    ]
    data = MultiImageMixDataset(Few(make_sample), steps)
    first, again, other = data[SampleIndex(2, 5)], data[SampleIndex(2, 5)], data[SampleIndex(2, 6)]
    assert len(data) == 6 and data.metainfo["classes"] == ("a", "b")
    assert first["img"].shape == (96, 128, 3) and "mix_results" not in first
    assert np.array_equal(first["img"], again["img"]) and not np.array_equal(first["img"], other["img"])
    data.update_skip_type_keys(["Mosaic", "MixUp"])
    assert data[2]["img"].shape == (97, 45, 3)


def test_dataset_takes_another_sample_for_one_that_is_given_up(make_sample):
    steps = [dict(type="FilterAnnotations", min_gt_bbox_wh=(15, 1), keep_empty=True)]
    data = MultiImageMixDataset(Few(make_sample), steps)
    np.random.seed(0)
    assert data[2]["img"].shape != SHAPES[2]  # whose boxes are narrower
    steps[0]["min_gt_bbox_wh"] = (500, 500)
    with pytest.raises(DataError, match="16 tries"):
        MultiImageMixDataset(Few(make_sample), steps)[0]
    with pytest.raises(ConfigError, match="list of configs"):
        MultiImageMixDataset(Few(make_sample), ["Mosaic"])
