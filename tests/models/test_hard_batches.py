"""Detectors of the configs on images without boxes, with crowds only, and with a box of one pixel."""

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import InstanceData

from foveal.structures import DataSample
from tests.models.small_detectors import EVERY_KIND, OTHERS, small_detector

EMPTY: list[list[float]] = []
BOX, PIXEL = [8.0, 10, 50, 44], [20.0, 21, 21, 22]


@pytest.fixture(scope="module", params=[*EVERY_KIND, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def model(request):
    return revert_sync_batchnorm(small_detector(request.param))


def instances(boxes):
    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.long),
        masks=torch.ones(len(boxes), 64, 64, dtype=torch.bool),
    )


def sample(boxes, crowds):
    meta = {"img_path": "a.jpg", "img_id": 1, "img_shape": (64, 64), "ori_shape": (64, 64), "scale_factor": (1.0, 1.0)}
    return DataSample(gt_instances=instances(boxes), ignored_instances=instances(crowds), metainfo=meta)


@pytest.mark.parametrize(
    "truth",
    [[(EMPTY, EMPTY), (EMPTY, [BOX]), ([PIXEL, BOX], EMPTY)], [(EMPTY, EMPTY), (EMPTY, [BOX])]],
    ids=["mixed", "no-box"],
)
def test_losses_and_gradients_are_finite(model, truth):
    model.zero_grad()
    images = [torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8) for _ in truth]
    data = {"inputs": images, "data_samples": [sample(*pair) for pair in truth]}
    losses = model(**model.data_preprocessor(data, training=True), mode="loss")
    total, values = model.parse_losses(losses)
    assert all(torch.isfinite(value).all() for value in values.values()), values
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(grad).all() for grad in gradients)
