from __future__ import annotations

import numpy as np
import pytest

from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS


def test_nested_transforms_are_ours_and_move_masks(make_sample):
    step = dict(type="Resize", scale=(30, 20))
    for config in (dict(type="RandomApply", transforms=[step], prob=1.0), dict(type="RandomChoice", transforms=[step])):
        assert TRANSFORMS.build(config)(make_sample())["gt_masks"].shape == (4, 20, 30)


def test_choice_follows_its_probabilities(make_sample):
    np.random.seed(0)
    steps = [[dict(type="Resize", scale=(w, 20))] for w in (10, 20, 30)]
    choice = TRANSFORMS.build(dict(type="RandomChoice", transforms=steps, prob=[0.5, 0.5, 0.0]))
    widths = [choice(make_sample())["img_shape"][1] for _ in range(40)]
    assert set(widths) == {10, 20}
    apply = TRANSFORMS.build(dict(type="RandomApply", transforms=dict(type="Resize", scale=(10, 20)), prob=0.25))
    assert 1 <= sum(apply(make_sample())["img_shape"] == (20, 10) for _ in range(40)) <= 20


def test_giving_a_sample_up_ends_the_pipeline(make_sample):
    steps = [dict(type="FilterAnnotations", min_gt_bbox_wh=(999, 999)), dict(type="Resize", scale=(10, 20))]
    assert TRANSFORMS.build(dict(type="RandomChoice", transforms=[steps]))(make_sample()) is None


def test_wrong_probabilities_are_explained():
    with pytest.raises(ConfigError, match="sum 1"):
        TRANSFORMS.build(dict(type="RandomChoice", transforms=[dict(type="Pad", size_divisor=2)], prob=[0.5]))
