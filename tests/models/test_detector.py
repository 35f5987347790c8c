import copy

import pytest
import torch
from mmengine.structures import InstanceData

from foveal.errors import DataError
from foveal.models import SingleStageDetector
from foveal.registry import MODELS
from foveal.structures import DataSample


class TinyBackbone(torch.nn.Module):
    """Two maps of strides 8 and 16."""

    out_channels = (16, 24)
    out_strides = (8, 16)

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 7, 4, 3), torch.nn.ReLU())
        self.first = torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3, 2, 1), torch.nn.ReLU())
        self.second = torch.nn.Sequential(torch.nn.Conv2d(16, 24, 3, 2, 1), torch.nn.ReLU())

    def forward(self, x):
        first = self.first(self.stem(x))
        return first, self.second(first)


TEST_CFG = {"nms_pre": 100, "score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 10}
RETINA = {
    "type": "RetinaNet",
    "bbox_head": {
        "type": "RetinaHead",
        "num_classes": 2,
        "stacked_convs": 1,
        "feat_channels": 16,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": 2,
            "scales_per_octave": 2,
            "ratios": [1.0],
            "strides": [8, 16, 32],
        },
        "loss_cls": {"type": "FocalLoss"},
        "loss_bbox": {"type": "L1Loss"},
    },
    "train_cfg": {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4}},
}
FCOS = {
    "type": "FCOS",
    "bbox_head": {
        "type": "FCOSHead",
        "num_classes": 2,
        "stacked_convs": 1,
        "feat_channels": 16,
        "strides": [8, 16, 32],
        "regress_ranges": ((-1, 32), (32, 64), (64, 1e8)),
        "norm_cfg": {"type": "GN", "num_groups": 4},
    },
}


def build(cfg):
    cfg = copy.deepcopy(cfg)
    neck = {"type": "FPN", "out_channels": 16, "num_outs": 3, "add_extra_convs": "on_output"}
    return MODELS.build({**cfg, "backbone": TinyBackbone(), "neck": neck, "test_cfg": TEST_CFG})


def batch():
    image = torch.randint(0, 60, (3, 64, 96), dtype=torch.uint8)
    image[0, 10:40, 12:44] = 250
    image[2, 30:60, 60:92] = 250
    truth = InstanceData(bboxes=torch.tensor([[12.0, 10, 44, 40], [60, 30, 92, 60]]), labels=torch.tensor([0, 1]))
    meta = {
        "img_path": "a/b.jpg",
        "img_id": 7,
        "img_shape": (64, 96),
        "ori_shape": (32, 96),
        "scale_factor": (1.0, 2.0),
    }
    return {"inputs": [image], "data_samples": [DataSample(gt_instances=truth, metainfo=meta)]}


@pytest.mark.parametrize("cfg", [RETINA, FCOS], ids=["retina", "fcos"])
def test_overfits_one_image(cfg):
    model = build(cfg)
    model.init_weights()
    model.data_preprocessor = MODELS.build(
        {"type": "DetDataPreprocessor", "mean": [60.0] * 3, "std": [60.0] * 3, "pad_size_divisor": 32}
    )
    model.bbox_head.test_cfg["score_thr"] = 0.2
    data = batch()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    history = []
    for _ in range(120):
        prepared = model.data_preprocessor(copy.deepcopy(data), True)
        loss, parts = model.parse_losses(model(**prepared, mode="loss"))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert set(parts) == {"loss", "loss_cls", "loss_bbox"} | ({"loss_centerness"} if cfg is FCOS else set())
    assert history[40] < 0.5 * history[0]
    (found,) = model.eval().test_step(data)
    best = [found.pred_instances[found.pred_instances.labels == c].bboxes[0] for c in (0, 1)]
    # the picture was stretched to twice its height
    expected = torch.tensor([[12.0, 5, 44, 20], [60, 15, 92, 30]])
    torch.testing.assert_close(torch.stack(best), expected, atol=8, rtol=0)


@pytest.mark.parametrize("label", [2, -1])
def test_label_that_is_no_class_names_the_image(label):
    model, data = build(RETINA), batch()
    data["data_samples"][0].gt_instances.labels[1] = label
    prepared = model.data_preprocessor(data)
    with pytest.raises(DataError, match=rf"a/b\.jpg: box 1 has label {label}, but the head has classes 0 to 1"):
        model(**prepared, mode="loss")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_box_that_is_not_finite_names_the_image(number):
    model, data = build(RETINA), batch()
    data["data_samples"][0].gt_instances.bboxes[1, 2] = number
    prepared = model.data_preprocessor(data)
    with pytest.raises(DataError, match=r"a/b\.jpg: box 1 is \[.*\], which is not finite"):
        model(**prepared, mode="loss")


def test_names_and_inferred_channels():
    model = build(RETINA)
    assert type(model) is SingleStageDetector and type(build(FCOS)) is SingleStageDetector
    assert model.neck.in_channels == [16, 24] and model.bbox_head.retina_cls.in_channels == 16
    assert model.bbox_head.test_cfg == TEST_CFG
    scores, offsets = model(torch.zeros(1, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in scores] == [(4, 8, 8), (4, 4, 4), (4, 2, 2)] and len(offsets) == 3


def test_without_a_neck_the_head_reads_the_backbone():
    cfg = copy.deepcopy(RETINA)
    cfg["bbox_head"]["anchor_generator"]["strides"] = [16]
    backbone = TinyBackbone()
    backbone.forward = lambda x: (backbone.second(backbone.first(backbone.stem(x))),)
    backbone.out_channels = (24,)
    model = MODELS.build({**cfg, "backbone": backbone, "test_cfg": TEST_CFG})
    assert model.neck is None and len(model(torch.zeros(1, 3, 64, 64))[0]) == 1


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="needs data_samples"):
        build(FCOS)(torch.zeros(1, 3, 64, 64), mode="predict")
    with pytest.raises(ValueError, match="train"):
        build(FCOS)(torch.zeros(1, 3, 64, 64), mode="train")
