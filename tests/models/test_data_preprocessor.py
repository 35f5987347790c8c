"""Batches: order of channels, scale, padding of images and, while training, of labels."""

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from foveal.registry import MODELS
from foveal.structures import DataSample

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]


def build(**more):
    return MODELS.build({"type": "DataPreprocessor", "mean": MEAN, "std": STD, "bgr_to_rgb": True, **more})


def sample(labels, masks=None):
    made = DataSample(gt_sem_seg=PixelData(data=labels[None]))
    if masks is not None:
        made.gt_instances = InstanceData(masks=masks)
    return made


def test_colours_are_turned_and_scaled():
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    got = build()({"inputs": [image], "data_samples": None})["inputs"][0]
    want = torch.stack([(image[2 - c].float() - MEAN[c]) / STD[c] for c in range(3)])
    torch.testing.assert_close(got, want)


def test_a_training_batch_is_padded_with_its_labels():
    images = [torch.ones(3, 5, 9), torch.ones(3, 8, 6)]
    masks = torch.ones(2, 5, 9, dtype=torch.bool)
    samples = [sample(torch.zeros(5, 9).long(), masks), sample(torch.zeros(8, 6).long())]
    data = build(pad_size_divisor=4, pad_value=-7.0)({"inputs": images, "data_samples": samples}, training=True)
    samples = data["data_samples"]
    assert data["inputs"].shape == (2, 3, 8, 12)
    assert (data["inputs"][0, :, 5:] == -7).all() and (data["inputs"][0, :, :, 9:] == -7).all()
    assert samples[0].metainfo == {"img_shape": (5, 9), "batch_input_shape": (8, 12), "pad_shape": (8, 12)}
    labels = samples[0].gt_sem_seg.data
    assert labels.shape == (1, 8, 12)
    assert (labels[:, :5, :9] == 0).all() and labels.sum() == 255 * (8 * 12 - 5 * 9)
    assert samples[0].gt_instances.masks.sum() == masks.sum()
    assert samples[0].gt_instances.masks.shape == (2, 8, 12)


@pytest.mark.parametrize("size", [(3, 4), (50, 60)])
def test_labels_of_the_original_size_are_left_alone_in_evaluation(size):
    labels = torch.randint(0, 5, size)
    one = sample(labels)
    data = build(pad_size_divisor=16)({"inputs": [torch.ones(3, 20, 20)], "data_samples": [one]})
    one = data["data_samples"][0]
    assert data["inputs"].shape == (1, 3, 32, 32)
    assert torch.equal(one.gt_sem_seg.data[0], labels)
    assert one.img_shape == (20, 20)


def test_size_is_for_training():
    step = build(size=(16, 24))
    data = {"inputs": [torch.ones(3, 10, 30)], "data_samples": None}
    assert step(data, training=True)["inputs"].shape == (1, 3, 16, 30)
    assert step(data)["inputs"].shape == (1, 3, 10, 30)


def test_the_names_of_mmseg():
    step = MODELS.build({"type": "SegDataPreProcessor", "size_divisor": 8, "pad_val": 3, "seg_pad_val": 9})
    one = sample(torch.zeros(5, 6).long())
    data = step({"inputs": [torch.ones(3, 5, 6)], "data_samples": [one]}, training=True)
    assert data["inputs"].shape == (1, 3, 8, 8)
    one = data["data_samples"][0]
    assert data["inputs"][0, 0, 7, 7] == 3 and one.gt_sem_seg.data[0, 7, 7] == 9
