"""RecursiveDet's stages: against numbers of the official code, and that they share their weights."""

import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData
from torchvision.ops import box_convert

from foveal.heads.roi_heads.recursive_roi_head import centerness_of
from foveal.registry import MODELS

HEAD = {
    "type": "RecursiveRoIHead",
    "num_stages": 6,
    "stage_loss_weights": [1] * 6,
    "bbox_roi_extractor": {
        "type": "SingleRoIExtractor",
        "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 2},
        "out_channels": 256,
        "featmap_strides": [4, 8, 16, 32],
    },
    "bbox_head": {
        "type": "RecursiveDIIHead",
        "num_classes": 80,
        "loss_cls": {"type": "FocalLoss", "use_sigmoid": True},
    },
}
# RCNNHead of bravezzzzzz/RecursiveDet in float64, positions too, with `fill` as weights on the inputs of `stages`:
# logits 0 to 3 and the box, centre and size, of proposal 3 of image 1
OFFICIAL = {
    0: (
        (0.2324819141, 0.4146640557, 0.4978849896, 0.4639080595),
        (0.3884758505, 0.3989621138, 0.4702577881, 0.5630592856),
    ),
    1: (
        (0.2269966433, 0.4114837471, 0.4977057458, 0.4667691133),
        (0.4501820045, 0.5062839395, 0.5971401101, 0.6733924745),
    ),
    2: (
        (0.2313502258, 0.4175456459, 0.5041491387, 0.4721836768),
        (0.5134603722, 0.613030106, 0.7122293592, 0.7673755345),
    ),
}


def wave(*shape):
    return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.73).view(shape)


def fill(name, value):
    """A weight that its name and shape decide."""
    number = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 0.37 + len(name)).view(value.shape)
    number = number * (value.shape[1] ** -0.5 * 1.5 if value.ndim == 2 else 0.1)
    return number + (1.0 if "norm" in name and name.endswith("weight") else 0.0)


@pytest.fixture(scope="module")
def head():
    built = MODELS.build(HEAD).double()
    built.load_state_dict({name: fill(name, value) for name, value in built.state_dict().items()})
    return built


@pytest.fixture(scope="module")
def stages(head):
    sizes = torch.tensor([[320.0, 256, 320, 256], [300, 200, 300, 200]], dtype=torch.float64)
    feats = [wave(2, 256, 256 // s, 320 // s) for s in (4, 8, 16, 32)]
    boxes, features = wave(2, 7, 4) * 0.15 + 0.45, wave(7, 256)
    proposals = [
        InstanceData(bboxes=box_convert(box, "cxcywh", "xyxy") * size, features=features)
        for box, size in zip(boxes, sizes, strict=True)
    ]
    samples = [BaseDataElement(metainfo={"img_shape": shape}) for shape in ((256, 320), (200, 300))]
    outputs = head.stages(feats, proposals, samples)
    return [(scores, box_convert(boxes / sizes[:, None], "xyxy", "cxcywh")) for scores, boxes, _ in outputs]


def test_equals_the_official_code(stages):
    assert len(stages) == 6
    for stage, (scores, box) in OFFICIAL.items():
        got = stages[stage]
        torch.testing.assert_close(got[0][1, 3, :4], got[0].new_tensor(scores), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(got[1][1, 3], got[1].new_tensor(box), rtol=1e-8, atol=1e-8)


def test_all_stages_but_the_first_share_their_weights(head, stages):
    assert {name.split(".")[1] for name in head.state_dict()} == {"0", "1"}
    for stage, (scores, _) in enumerate(stages):
        weights = [one.fc_cls.weight for one in head.bbox_head]
        grads = torch.autograd.grad(scores.sum(), weights, retain_graph=True, allow_unused=True)
        assert [grad is not None for grad in grads] == [stage == 0, stage > 0]


def test_centerness_is_that_of_fcos():
    values = centerness_of(7)
    assert values[3, 3] == 1
    left, top = 0.5, 2.5
    expected = (left / (7 - left) * top / (7 - top)) ** 0.5
    torch.testing.assert_close(values[2, 0].item(), expected)
    torch.testing.assert_close(values, values.flip(0).flip(1).T)
