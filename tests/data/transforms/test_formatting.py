from __future__ import annotations

import numpy as np
import pytest
import torch

from foveal.data.transforms import PackInputs, Resize
from foveal.errors import DataError
from foveal.registry import TRANSFORMS
from foveal.structures import DataSample


@pytest.mark.parametrize("name", ["PackInputs", "PackDetInputs", "PackSegInputs", "PackClsInputs"])
def test_all_names_are_one_class(name):
    assert type(TRANSFORMS.build(dict(type=name))) is PackInputs


def test_a_full_sample(make_sample):
    before = make_sample()
    packed = PackInputs()(make_sample() | {"img_id": 7, "flip": False, "homography": 1})
    inputs, sample = packed["inputs"], packed["data_samples"]
    assert isinstance(sample, DataSample)
    assert inputs.dtype == torch.uint8 and inputs.is_contiguous()
    assert np.array_equal(inputs.permute(1, 2, 0).numpy(), before["img"])
    instances, ignored = sample.gt_instances, sample.ignored_instances
    assert instances.labels.tolist() == [0, 2, 3] and ignored.labels.tolist() == [1]
    assert instances.masks.dtype == torch.bool and instances.masks.shape == (3, 61, 83)
    assert np.array_equal(instances.bboxes.numpy(), before["gt_bboxes"][[0, 2, 3]])
    assert np.array_equal(ignored.masks[0].numpy(), before["gt_masks"][1] > 0)
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert np.array_equal(sample.gt_sem_seg.data[0].numpy(), before["gt_seg_map"])
    meta = sample.metainfo
    assert meta["img_id"] == 7 and meta["ori_shape"] == (61, 83) and meta["flip"] is False
    assert "homography" not in meta and "pad_shape" not in meta


def test_meta_keys_can_be_named(make_sample):
    packed = PackInputs(meta_keys=("ori_shape", "homography"))(make_sample() | {"homography": 3})
    assert packed["data_samples"].metainfo == {"ori_shape": (61, 83), "homography": 3}


def test_empty_annotations(make_sample):
    instances = PackInputs()(make_sample(count=0))["data_samples"].gt_instances
    assert instances.bboxes.shape == (0, 4) and instances.bboxes.dtype == torch.float32
    assert instances.labels.shape == (0,) and instances.labels.dtype == torch.int64
    assert instances.masks.shape == (0, 61, 83) and instances.masks.dtype == torch.bool


def test_an_image_alone_has_no_annotations():
    sample = PackInputs()({"img": np.zeros((4, 5), np.uint8)})
    assert sample["inputs"].shape == (1, 4, 5)
    assert not sample["data_samples"].keys()


def test_class_label():
    packed = PackInputs()({"img": np.zeros((4, 5, 3), np.uint8), "gt_label": 3})
    assert packed["data_samples"].gt_label.tolist() == [3]
    assert packed["data_samples"].gt_label.dtype == torch.int64


def test_restoration_pair_is_rgb_and_fits():
    img, gt_img = np.zeros((4, 5, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)
    gt_img[..., 0] = 9  # blue
    packed = PackInputs()({"img": img, "gt_img": gt_img, "upscale": 2})
    assert packed["data_samples"].gt_img.shape == (3, 8, 10)
    assert packed["data_samples"].gt_img[:, 0, 0].tolist() == [0, 0, 9]
    with pytest.raises(DataError, match=r"a\.png is 5x4, b\.png is 10x8"):
        PackInputs()({"img": img, "gt_img": gt_img, "upscale": 3, "img_path": "a.png", "gt_img_path": "b.png"})


def test_float_images_stay_float(make_sample):
    sample = make_sample()
    sample["img"] = sample["img"].astype(np.float32)
    assert PackInputs()(Resize(scale=(20, 20))(sample))["inputs"].dtype == torch.float32
