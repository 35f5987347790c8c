from __future__ import annotations

import pickle

import numpy as np
import pytest

from foveal.data.transforms import Albu
from foveal.errors import ConfigError, DataError


def test_geometry_is_ours_where_both_have_it(make_sample):
    before = make_sample()
    sample = Albu([dict(type="HorizontalFlip", p=1.0)])(make_sample())
    width = before["img_shape"][1]
    assert np.array_equal(sample["img"], before["img"][:, ::-1])
    assert np.array_equal(sample["gt_masks"], before["gt_masks"][:, :, ::-1])
    np.testing.assert_allclose(sample["gt_bboxes"][:, 0], width - before["gt_bboxes"][:, 2], atol=1e-3)


def test_colours_are_seen_as_rgb():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 200  # red, in BGR
    shifted = Albu([dict(type="RGBShift", r_shift_limit=(20, 20), g_shift_limit=0, b_shift_limit=0, p=1.0)])
    assert shifted({"img": image})["img"][0, 0].tolist() == [0, 0, 220]


def test_outside_is_ignored_in_the_label_map_and_background_in_masks(make_sample):
    sample = make_sample()
    sample["gt_seg_map"][:3] = 255
    sample = Albu([dict(type="Affine", translate_px=dict(x=20, y=0), p=1.0)])(sample)
    assert (sample["gt_seg_map"][:, :20] == 255).all()
    assert (sample["gt_seg_map"][:3] == 255).all()
    assert set(np.unique(sample["gt_seg_map"][3:, 20:])) <= {0, 1, 2, 3, 4}
    assert not sample["gt_masks"][:, :, :20].any()


def test_what_leaves_the_image_is_removed_with_labels_and_masks(make_sample):
    crop = Albu([dict(type="Crop", x_min=0, y_min=0, x_max=30, y_max=60, p=1.0)])
    sample = crop(make_sample(shape=(60, 80)))
    assert sample["gt_bboxes_labels"].tolist() == [0, 1]
    assert sample["gt_masks"].shape == (2, 60, 30)
    strict = Albu(crop.transforms, bbox_params=dict(min_visibility=0.8))(make_sample(shape=(60, 80)))
    assert strict["gt_bboxes_labels"].tolist() == [0]
    gone = Albu([dict(type="Crop", x_min=0, y_min=0, x_max=30, y_max=2, p=1.0)])(make_sample(shape=(60, 80)))
    assert gone["gt_bboxes"].shape == (0, 4) and gone["gt_masks"].shape == (0, 2, 30)


def test_faulty_boxes_do_not_stop_it(make_sample):
    sample = make_sample()
    sample["gt_bboxes"][0] = [-5, 4, 200, 30]
    sample["gt_bboxes"][1] = [7, 7, 7, 7]
    sample = Albu([dict(type="VerticalFlip", p=1.0)])(sample)
    assert sample["gt_bboxes_labels"].tolist() == [0, 2, 3]
    assert sample["gt_bboxes"][0].tolist() == pytest.approx([0, 31, 83, 57], abs=1e-3)


def test_an_image_too_small_for_a_transform_is_named(make_sample):
    with pytest.raises(DataError, match=r"picture.png.*100"):
        Albu([dict(type="RandomCrop", height=100, width=100)])(make_sample())


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (dict(type="HorizontalFlop"), "HorizontalFlip"),
        (dict(type="GaussianBlur", blur_limits=3), "blur_limit"),
        (dict(type="HorizontalFlip", p=2), "less than or equal to 1"),
        (dict(type="OneOf", transforms=[dict(type="Blurr")]), "Blur"),
        (dict(type="Affine", fill_mask=255), "fill_mask"),
        (dict(p=1.0), "'type'"),
    ],
)
def test_mistakes_are_explained(step, message):
    with pytest.raises(ConfigError, match=message):
        Albu([step])


def test_unknown_bbox_params_are_explained():
    with pytest.raises(ConfigError, match="min_visibility"):
        Albu([], bbox_params=dict(min_visible=0.1))


def test_it_travels_to_worker_processes(make_sample):
    transform = Albu([dict(type="Affine", rotate=(-20, 20)), dict(type="RandomGamma")])
    copied = pickle.loads(pickle.dumps(transform))
    results = []
    for each in (transform, copied):
        np.random.seed(5)
        results.append(each(make_sample()))
    assert np.array_equal(results[0]["img"], results[1]["img"])
