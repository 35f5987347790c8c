from __future__ import annotations

import pytest

from foveal.data.transforms import FilterAnnotations
from foveal.errors import ConfigError


def test_small_boxes_and_masks_are_removed(make_sample):
    sample = FilterAnnotations(min_gt_bbox_wh=(1, 32), keep_empty=False)(make_sample(shape=(60, 80)))
    assert sample["gt_bboxes_labels"].tolist() == [2, 3]
    areas = make_sample()["gt_masks"].sum(axis=(1, 2))
    sample = FilterAnnotations(by_box=False, by_mask=True, min_gt_mask_area=int(areas[1]))(make_sample())
    assert sample["gt_bboxes_labels"].tolist() == [1, 2, 3]


def test_a_sample_left_empty_is_given_up_unless_told_otherwise(make_sample):
    assert FilterAnnotations(min_gt_bbox_wh=(999, 999))(make_sample()) is None
    assert len(FilterAnnotations(min_gt_bbox_wh=(999, 999), keep_empty=False)(make_sample())["gt_bboxes"]) == 0
    assert FilterAnnotations()(make_sample(count=0)) is not None


def test_mistakes_are_explained(make_sample):
    with pytest.raises(ConfigError, match="by_box or by_mask"):
        FilterAnnotations(by_box=False)
    sample = make_sample()
    del sample["gt_masks"]
    with pytest.raises(ConfigError, match="with_mask"):
        FilterAnnotations(by_mask=True)(sample)
