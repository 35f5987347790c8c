"""Detectors that ask queries: images without boxes, tiny boxes, padding, and what they refuse."""

import pytest
import torch
from mmengine.structures import InstanceData

from foveal.engine.checkpoint import load_state_dict
from foveal.errors import ConfigError, DataError
from foveal.heads.assigners import BBoxL1Cost, HungarianAssigner
from foveal.registry import MODELS
from foveal.structures import DataSample

WIDTH = 32
DEFORMABLE = {"embed_dims": WIDTH, "num_heads": 4, "num_levels": 2}
PLAIN = {"embed_dims": WIDTH, "num_heads": 4}
FFN = {"embed_dims": WIDTH, "feedforward_channels": 48}
COSTS = [
    {"type": "FocalLossCost", "weight": 2.0},
    {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
    {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
]


def config(kind, **options):
    conditional = kind == "ConditionalDETR"
    attention = PLAIN if conditional else DEFORMABLE
    cross = {**PLAIN, "cross_attn": True} if conditional else DEFORMABLE
    return {
        "type": kind,
        "num_queries": 8,
        "backbone": {"type": "ResNet", "depth": 18, "out_indices": (3,) if conditional else (2, 3)},
        "neck": {"type": "ChannelMapper", "out_channels": WIDTH, "kernel_size": 1, "act_cfg": None},
        "encoder": {"num_layers": 1, "layer_cfg": {"self_attn_cfg": attention, "ffn_cfg": FFN}},
        "decoder": {
            "num_layers": 2,
            "layer_cfg": {"self_attn_cfg": PLAIN, "cross_attn_cfg": cross, "ffn_cfg": FFN},
        },
        "bbox_head": {"type": f"{kind}Head", "num_classes": 3, "embed_dims": WIDTH},
        "positional_encoding": {"num_feats": WIDTH // 2, "normalize": True},
        "train_cfg": {"assigner": {"type": "HungarianAssigner", "match_costs": COSTS}},
        "test_cfg": {"max_per_img": 5},
        **({} if conditional else {"num_feature_levels": 2}),
        **options,
    }


TWO_STAGE = {"with_box_refine": True, "as_two_stage": True}
MODELS_HERE = {
    "deformable": ("DeformableDETR", {}),
    "refine": ("DeformableDETR", {"with_box_refine": True}),
    "two-stage": ("DeformableDETR", TWO_STAGE),
    "dino": ("DINO", TWO_STAGE),
    "conditional": ("ConditionalDETR", {}),
}


@pytest.fixture(scope="module", params=MODELS_HERE)
def model(request):
    torch.manual_seed(0)
    kind, options = MODELS_HERE[request.param]
    return MODELS.build(config(kind, **options))


def sample(boxes, shape=(96, 128)):
    boxes = torch.tensor(boxes).view(-1, 4)
    truth = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 3)
    return DataSample(gt_instances=truth, metainfo={"img_shape": shape, "scale_factor": (2.0, 2.0), "img_id": 7})


BOXES = [[10.0, 10, 80, 90], [5, 5, 6, 6], [30, 20, 90, 60]]


@pytest.mark.parametrize("second", [[], BOXES[:1]])
@pytest.mark.parametrize("first", [[], BOXES])
def test_every_parameter_gets_a_finite_gradient(model, first, second):
    model.train().zero_grad()
    losses = model(torch.randn(2, 3, 96, 128), [sample(first), sample(second, (80, 100))], mode="loss")
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()]


def test_predictions_lie_in_the_original_image(model):
    model.eval()
    with torch.no_grad():
        found = model(torch.randn(2, 3, 96, 128), [sample([]), sample([], (80, 100))], mode="predict")
    for result, (height, width) in zip(found, ((96, 128), (80, 100)), strict=True):
        boxes = result.pred_instances.bboxes
        assert boxes.shape == (5, 4)
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height] * 2) / 2).all()
        assert (result.pred_instances.scores.diff() <= 0).all()


def test_what_lies_in_the_padding_does_not_count(model):
    model.eval()
    image = torch.randn(1, 3, 96, 128)
    image[..., 64:, :], image[..., 64:] = 0, 0
    with torch.no_grad():
        feats = model.neck(model.backbone(image))
        mask = torch.ones(1, 96, 128, dtype=torch.bool)
        mask[:, :64, :64] = False
        wrong = [x.clone() for x in feats]
        for x, stride in zip(wrong, (16, 32)[-len(wrong) :], strict=True):
            x[..., 64 // stride :, :] += 5
            x[..., 64 // stride :] += 5
        clean, dirty = (model.bbox_head(*model.decode(maps, mask))[1] for maps in (feats, wrong))
    torch.testing.assert_close(clean, dirty)


@pytest.mark.parametrize("load", [torch.nn.Module.load_state_dict, load_state_dict])
@pytest.mark.parametrize("factor", [2, 4])
def test_dino_takes_both_widths_of_its_positional_layer(factor, load):
    model = MODELS.build(config("DINO", **TWO_STAGE)).eval()
    state = model.state_dict()
    weight = torch.randn(WIDTH, factor * WIDTH)
    state["decoder.ref_point_head.layers.0.weight"] = weight
    load(model, state)
    assert torch.equal(model.decoder.ref_point_head.layers[0].weight, weight)
    assert model(torch.randn(1, 3, 64, 64))[0].shape == (2, 1, 8, 3)


@pytest.mark.parametrize("kind", ["DeformableDETR", "DINO"])
def test_images_too_small_for_the_queries_are_named(kind):
    model = MODELS.build(config(kind, **TWO_STAGE) | {"num_queries": 30}).eval()
    with pytest.raises(DataError, match=f"{kind} picks num_queries=30 of .* images of this size have 20"):
        model(torch.zeros(1, 3, 64, 64), mode="tensor")


def test_positional_encoding_must_fit():
    with pytest.raises(ConfigError, match="num_feats must be 16, half of embed_dims, got 8"):
        MODELS.build(config("DeformableDETR", positional_encoding={"num_feats": 8}))


def test_matching_survives_costs_that_are_no_numbers():
    pred = InstanceData(bboxes=torch.tensor([[float("nan")] * 4, [0, 0, 10, 10.0]]))
    truth = InstanceData(bboxes=torch.tensor([[0, 0, 9, 9.0]]), labels=torch.tensor([0]))
    assigner = HungarianAssigner({"type": "BBoxL1Cost"})
    ((query, which),) = assigner.assign([(pred, truth, {"img_shape": (20, 20)})])
    assert (query.tolist(), which.tolist()) == ([1], [0])


def test_costs_and_matchings_name_what_they_take():
    with pytest.raises(ConfigError, match="box_format must be xyxy or xywh"):
        BBoxL1Cost("cxcywh")
    with pytest.raises(ConfigError, match="match_costs must name at least one"):
        HungarianAssigner([])
