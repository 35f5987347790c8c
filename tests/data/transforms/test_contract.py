"""What holds for every transform: the parts of a sample stay together, and a seed decides everything."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from foveal.registry import TRANSFORMS

CONFIGS = {
    "Resize": dict(scale=(50, 40)),
    "Resize-ratio": dict(scale=(50, 40), keep_ratio=True),
    "Resize-factor": dict(scale_factor=1.7),
    "Resize-pillow": dict(scale=(50, 40), backend="pillow", interpolation="bicubic"),
    "FixScaleResize": dict(scale=(50, 40), keep_ratio=True),
    "RandomResize": dict(scale=(60, 50), ratio_range=(0.5, 2.0), keep_ratio=True),
    "RandomResize-between": dict(scale=[(40, 30), (90, 70)]),
    "RandomResize-edge": dict(scale=(60, 50), ratio_range=(0.5, 2.0), resize_type="ResizeShortestEdge", max_size=99),
    "RandomChoiceResize": dict(scales=[(40, 30), (60, 50)], keep_ratio=True),
    "RandomChoiceResize-edge": dict(scales=[31, 47], resize_type="ResizeShortestEdge", max_size=64),
    "ResizeShortestEdge": dict(scale=32, max_size=48),
    "ResizeToMultiple": dict(size_divisor=32),
    "ResizeEdge": dict(scale=33),
    "RandomFlip": dict(prob=0.7, direction=["horizontal", "vertical", "diagonal"]),
    "Pad": dict(size_divisor=32),
    "Pad-size": dict(size=(100, 90)),
    "Pad-square": dict(pad_to_square=True, pad_val=dict(img=114)),
    "Pad-edge": dict(size=(100, 90), padding_mode="edge"),
    "RandomCrop": dict(crop_size=(30, 41), allow_negative_crop=True),
    "RandomCrop-recompute": dict(crop_size=(30, 41), allow_negative_crop=True, recompute_bbox=True),
    "RandomCrop-range": dict(crop_size=(20, 50), crop_type="absolute_range", allow_negative_crop=True),
    "RandomCrop-relative": dict(crop_size=(0.5, 0.4), crop_type="relative_range", allow_negative_crop=True),
    "RandomCrop-diverse": dict(crop_size=24, cat_max_ratio=0.75, allow_negative_crop=True),
    "CenterCrop": dict(crop_size=(40, 30)),
    "RandomResizedCrop": dict(scale=(32, 40)),
    "Expand": dict(mean=(1, 2, 3), prob=0.8),
    "MinIoURandomCrop": dict(min_ious=(0.1, 0.3)),
    "RandomAffine": dict(max_rotate_degree=0, max_shear_degree=0, border=(5, -4)),
    "PhotoMetricDistortion": {},
    "YOLOXHSVRandomAug": {},
    "FilterAnnotations": dict(min_gt_bbox_wh=(5, 30), keep_empty=False),
    "FilterAnnotations-mask": dict(by_mask=True, min_gt_mask_area=300, keep_empty=False),
    "Albu": dict(
        transforms=[
            dict(type="OneOf", transforms=[dict(type="GaussianBlur"), dict(type="RandomGamma")], p=0.8),
            dict(type="Affine", scale=(0.8, 1.2), translate_percent=(-0.3, 0.3), p=0.8),
            dict(type="HorizontalFlip"),
            dict(type="RandomCrop", height=30, width=40),
        ]
    ),
    "RandomChoice": dict(
        transforms=[
            [dict(type="Resize", scale=(30, 30)), dict(type="Pad", size_divisor=32)],
            dict(type="RandomFlip", prob=1.0),
        ]
    ),
    "RandomApply": dict(transforms=[dict(type="Resize", scale=(30, 30))]),
}
SAMPLES = {
    "colour": {},
    "odd": dict(shape=(37, 113)),
    "tall": dict(shape=(97, 45)),
    "no boxes": dict(count=0),
    "grey": dict(channels=None),
    "one channel": dict(channels=1),
}


def build(name: str):
    return TRANSFORMS.build(dict(type=name.partition("-")[0], **CONFIGS[name]))


def check(sample: dict, channels: int | None) -> None:
    img = sample["img"]
    assert img.shape[2:] == (() if channels is None else (channels,))
    assert tuple(sample["img_shape"]) == img.shape[:2]
    assert sample["gt_seg_map"].shape == img.shape[:2]
    assert sample["gt_seg_map"].dtype == np.uint8
    count = len(sample["gt_bboxes"])
    assert sample["gt_bboxes"].shape == (count, 4)
    assert sample["gt_bboxes"].dtype == np.float32
    assert sample["gt_bboxes_labels"].shape == (count,)
    assert sample["gt_bboxes_labels"].dtype == np.int64
    assert sample["gt_ignore_flags"].shape == (count,)
    assert sample["gt_ignore_flags"].dtype == bool
    assert sample["gt_masks"].shape == (count, *img.shape[:2])
    assert sample["gt_masks"].dtype == np.uint8
    # the labels are the instances' numbers, so they tell whether masks still belong to their instance
    for label, mask in zip(sample["gt_bboxes_labels"], sample["gt_masks"], strict=True):
        assert np.array_equal(mask > 0, sample["gt_seg_map"] == label + 1)


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("name", CONFIGS)
def test_parts_stay_together(name, kind, make_sample):
    transform = build(name)
    arguments = SAMPLES[kind]
    for seed in range(3):
        np.random.seed(seed)
        check(transform(make_sample(**arguments)), arguments.get("channels", 3))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_seed_decides(name, make_sample):
    transform = build(name)
    outputs = []
    for seed in (3, 3, 4, 5, 6, 7):
        np.random.seed(seed)
        outputs.append(transform(make_sample()))
    for key, value in outputs[0].items():
        assert np.array_equal(value, outputs[1][key]), key
    if name.startswith(("Random", "PhotoMetric", "Albu")):
        assert any(not np.array_equal(outputs[0]["img"], other["img"]) for other in outputs[2:])


@pytest.mark.parametrize("name", [n for n in CONFIGS if not n.startswith(("PhotoMetric", "YOLOX", "Filter"))])
def test_boxes_follow_their_masks(name, make_sample, boxes_of):
    transform = build(name)
    for seed in range(5):
        np.random.seed(seed)
        sample = transform(make_sample(shape=(120, 160)))
        # a mask cut off at the border no longer fills its box: compare those that are whole
        h, w = sample["img_shape"]
        x1, y1, x2, y2 = sample["gt_bboxes"].T
        whole = (x1 > 1) & (y1 > 1) & (x2 < w - 1) & (y2 < h - 1)
        tight = boxes_of(sample["gt_masks"])
        # one output pixel, and as many more as one input pixel became
        slack = 1 + max(1.0, *sample.get("scale_factor", (1.0,)))
        np.testing.assert_allclose(sample["gt_bboxes"][whole], tight[whole], atol=slack)


@pytest.mark.parametrize("name", [n for n in CONFIGS if not n.startswith("Filter") and n != "RandomCrop-diverse"])
def test_works_on_a_bare_image(name, make_sample):
    full = make_sample()
    bare = {key: copy.copy(full[key]) for key in ("img_path", "img", "img_shape", "ori_shape")}
    result = build(name)(bare)
    assert "gt_bboxes" not in result and "gt_masks" not in result
    assert tuple(result["img_shape"]) == result["img"].shape[:2]
