"""Any family is the backbone of a detector, a segmentor and a classifier by one line of config."""

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from foveal.backbones.catalog import CATALOG
from foveal.registry import MODELS
from foveal.structures import DataSample

MODELS.import_from_location()
# the smallest of each family, by the order in which families list their variants
SMALLEST = {variant.backbone["type"]: variant for variant in reversed(CATALOG.values())}
pytestmark = pytest.mark.parametrize("family", sorted(SMALLEST))


def sample(height, width):
    boxes = torch.tensor([[4.0, 6.0, width - 8.0, height - 10.0]])
    return DataSample(
        metainfo={"img_shape": (height, width), "ori_shape": (height, width), "scale_factor": (1.0, 1.0)},
        gt_instances=InstanceData(bboxes=boxes, labels=torch.tensor([1])),
        ignored_instances=InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long)),
        gt_sem_seg=PixelData(data=torch.ones(1, height, width, dtype=torch.long)),
        gt_label=torch.tensor([1]),
    )


def step(model):
    """A loss and its gradient; norms in eval mode, since the last maps have few pixels."""
    model.eval()
    losses = model(torch.rand(2, 3, 64, 96), [sample(64, 96) for _ in range(2)], mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    grads = [p.grad for p in model.backbone.parameters() if p.grad is not None]
    assert grads and all(g.isfinite().all() for g in grads)


def test_detector(family):
    model = MODELS.build(
        {
            "type": "SingleStageDetector",
            "backbone": dict(SMALLEST[family].backbone),
            "neck": {"type": "FPN", "out_channels": 16, "num_outs": 5, "add_extra_convs": "on_output"},
            "bbox_head": {"type": "RetinaHead", "num_classes": 3, "feat_channels": 16, "stacked_convs": 1},
            "train_cfg": {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4}},
            "test_cfg": {"nms_pre": 10, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 5},
        }
    )
    step(model)
    (found,) = model(torch.rand(1, 3, 64, 96), [sample(64, 96)], mode="predict")
    assert found.pred_instances.bboxes.shape[1] == 4


def test_segmentor(family):
    model = MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": dict(SMALLEST[family].backbone),
            "decode_head": {"type": "FCNHead", "channels": 8, "num_classes": 3, "num_convs": 1},
        }
    )
    step(model)
    (found,) = model(torch.rand(1, 3, 64, 96), [sample(64, 96)], mode="predict")
    assert found.pred_sem_seg.data.shape == (1, 64, 96)


def test_classifier(family):
    model = MODELS.build(
        {
            "type": "ImageClassifier",
            "backbone": dict(SMALLEST[family].backbone),
            "head": {"type": "LinearClsHead", "num_classes": 3},
        }
    )
    step(model)
    (found,) = model(torch.rand(1, 3, 64, 96), [sample(64, 96)], mode="predict")
    assert found.pred_score.sum().item() == pytest.approx(1, abs=1e-5)
