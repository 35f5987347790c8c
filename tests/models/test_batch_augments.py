"""Changes to a whole batch while training."""

import random

import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData, PixelData

from foveal.models import BatchSyncRandomResize, DetDataPreprocessor
from foveal.structures import DataSample


def batch():
    boxes = InstanceData(bboxes=torch.tensor([[8.0, 4, 40, 60]]), labels=torch.zeros(1, dtype=torch.long))
    sample = DataSample(gt_instances=boxes, ignored_instances=boxes.clone(), metainfo={"img_shape": (64, 64)})
    return {"inputs": [torch.zeros(3, 64, 64)], "data_samples": [sample]}


def test_size_changes_after_the_interval_and_boxes_with_it():
    random.seed(0)
    processor = DetDataPreprocessor(
        batch_augments=[{"type": "BatchSyncRandomResize", "random_size_range": (96, 128), "interval": 2}]
    )
    hub = MessageHub.get_current_instance()
    seen = []
    for i in range(4):
        hub.update_info("iter", i)
        data = processor(batch(), training=True)
        side = data["inputs"].shape[-1]
        (sample,) = data["data_samples"]
        seen.append(side)
        assert sample.img_shape == sample.pad_shape == sample.batch_input_shape == (side, side)
        scaled = torch.tensor([[8.0, 4, 40, 60]]) * side / 64
        torch.testing.assert_close(sample.gt_instances.bboxes, scaled)
        torch.testing.assert_close(sample.ignored_instances.bboxes, scaled)
    assert seen[:2] == [64, 64] and seen[2] == seen[3] and seen[2] in (96, 128)
    assert processor(batch(), training=False)["inputs"].shape[-1] == 64


def test_width_follows_the_shape_of_the_batch():
    augment = BatchSyncRandomResize((96, 96), interval=1)
    sample = batch()["data_samples"][0]
    sample.set_metainfo({"pad_shape": (64, 128), "img_shape": (64, 128)})
    augment(torch.zeros(1, 3, 64, 128), [sample])
    assert augment.input_size == (96, 192)


def test_fixed_size():
    data = batch()
    sample = data["data_samples"][0]
    sample.gt_instances.masks = torch.ones(1, 64, 64, dtype=torch.bool)
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 64, 64, dtype=torch.long))
    pad = {"type": "BatchFixedSizePad", "size": (96, 32), "img_pad_value": 7, "pad_mask": True, "pad_seg": True}
    data = DetDataPreprocessor(batch_augments=[pad])(data, training=True)
    sample = data["data_samples"][0]
    assert data["inputs"].shape == (1, 3, 96, 64)
    assert (data["inputs"][..., 64:, :] == 7).all()
    assert sample.batch_input_shape == (96, 64)
    assert sample.img_shape == (64, 64)
    assert sample.gt_instances.masks.shape == (1, 96, 64)
    assert sample.gt_instances.masks.sum() == 64 * 64
    assert (sample.gt_sem_seg.data[:, 64:] == 255).all()
    assert (sample.gt_sem_seg.data[:, :64] == 0).all()
