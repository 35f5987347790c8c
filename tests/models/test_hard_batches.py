"""Detectors of the configs on images without boxes, with crowds only, and with a box of one pixel."""

from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData

from foveal.config import load_config
from foveal.registry import MODELS
from foveal.structures import DataSample

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
NAMES = [
    "retinanet/retinanet_r18_fpn_1x_coco",
    "atss/atss_r50_fpn_1x_coco",
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",
]
EMPTY: list[list[float]] = []
BOX, PIXEL = [8.0, 10, 50, 44], [20.0, 21, 21, 22]


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    cfg = load_config(str(CONFIGS / f"{request.param}.py")).model
    cfg.backbone.update(depth=18, init_cfg=None)
    cfg.neck.in_channels = [64, 128, 256, 512]
    built = MODELS.build(cfg)
    built.init_weights()
    return built.train()


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
