"""RelationNet++: encoding, attention and key points against slow formulations; learning; mistakes.

The parts were also compared with the official code: features after the attention and losses agree to rounding.
"""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData

from foveal.engine.checkpoint import load_state_dict
from foveal.errors import ConfigError
from foveal.heads.detection.bvr_head import BVRHead, KeypointTransformer, PositionalEncodingSineLearned
from foveal.heads.detection.keypoint_head import KeypointHead, Keypoints, PointKptAssigner
from foveal.structures import DataSample

CLASSES = 3
SIZES = [(12, 16), (6, 8), (3, 4)]
STRIDES = [8, 16, 32]
SHAPE = (96, 128)
TEST_CFG = {"nms_pre": 50, "score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 10}
NORM = {"type": "GN", "num_groups": 4}
TOWER = {"num_classes": CLASSES, "stacked_convs": 1, "feat_channels": 8, "norm_cfg": NORM}
ANCHORS = {"type": "AnchorGenerator", "scales": [4], "ratios": [1.0], "strides": STRIDES}
MAX_IOU = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4}
HEADS = {
    "RetinaHead": ({"anchor_generator": ANCHORS}, MAX_IOU),
    "ATSSHead": ({"anchor_generator": ANCHORS, "loss_bbox": {"type": "GIoULoss"}}, {"type": "ATSSAssigner", "topk": 4}),
    "FCOSHead": ({"strides": STRIDES, "regress_ranges": ((-1, 24), (24, 48), (48, 1e8)), "norm_on_bbox": True}, None),
}


def build(kind, **options):
    more, assigner = HEADS[kind]
    keypoints = {"type": "KeypointHead", "num_classes": CLASSES, "stacked_convs": 1, "feat_channels": 8}
    options = {
        "feature_selection_cfg": {"cross_level_topk": 12, "cross_level_selection": True},
        "pos_cfg": {"base_size": [40, 40], "log_scale": True},
        "train_cfg": {"bbox": {"assigner": assigner}, "keypoint": {"assigner": {"type": "PointKptAssigner"}}},
        **options,
    }
    head = BVRHead(
        {"type": kind, **TOWER, **more},
        {**keypoints, "strides": STRIDES, "norm_cfg": NORM, "logits_convs": 1},
        keypoint_cfg={"max_keypoint_num": 7},
        num_attn_heads=2,
        in_channels=8,
        test_cfg=TEST_CFG,
        **options,
    )
    head.init_weights()
    return head


def feats(count=2):
    return tuple(torch.randn(count, 8, *size) for size in SIZES)


def sample(boxes=(), labels=()):
    truth = InstanceData(bboxes=torch.tensor(boxes).float().reshape(-1, 4), labels=torch.tensor(labels).long())
    return DataSample(gt_instances=truth, metainfo={"img_shape": SHAPE, "pad_shape": SHAPE, "scale_factor": (1.0, 1.0)})


NORMAL, PIXEL = sample([[8, 8, 60, 70], [40, 20, 120, 90]], [0, 2]), sample([[33, 47, 34, 48]], [1])


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("batch", [[NORMAL, sample()], [sample(), sample()], [PIXEL, NORMAL]])
def test_awkward_batches(kind, batch):
    head = build(kind)
    losses = head.loss(feats(), batch)
    assert {"kpt_loss_point_cls", "kpt_loss_point_offset", "bbox_loss_cls", "bbox_loss_bbox"} <= losses.keys()
    sum(sum(x) if isinstance(x, list) else x for x in losses.values()).backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("kind", HEADS)
def test_without_relations_it_is_the_dense_head(kind):
    nothing = {"keypoint_types": [], "with_relation": False}
    head = build(kind, cls_keypoint_cfg=nothing, reg_keypoint_cfg=nothing).eval()
    maps = feats(1)
    (got,), (want,) = head.predict(maps, [NORMAL]), head.bbox_head.predict(maps, [NORMAL])
    assert len(got) == 10 and torch.equal(got.bboxes, want.bboxes)
    (other,) = build(kind).eval().predict(maps, [NORMAL])
    assert not torch.equal(other.bboxes, want.bboxes)


@pytest.mark.parametrize("log_scale", [False, True])
def test_encoding_equals_the_interpolated_picture(log_scale):
    layer = PositionalEncodingSineLearned(16, 4, (20, 30), log_scale).double()
    torch.nn.init.normal_(layer.embedding_transform[0].conv.weight)
    torch.nn.init.constant_(layer.embedding_transform[0].conv.bias, 3.0)
    ys, xs = torch.meshgrid(torch.arange(-15.0, 16).double(), torch.arange(-10.0, 11).double(), indexing="ij")
    periods = 1000 ** (torch.arange(4).double() / 4)
    waves = [f(x[..., None] / periods) for x in (xs, ys) for f in (torch.sin, torch.cos)]
    picture = layer.embedding_transform(torch.cat(waves, -1).permute(2, 0, 1)[None])
    distance = (torch.rand(2, 5, 7, 2, dtype=torch.float64) - 0.5) * torch.tensor([26.0, 40.0])
    grid = distance / torch.tensor([10.0, 15.0])
    want = F.grid_sample(picture.expand(2, -1, -1, -1), grid, padding_mode="border", align_corners=False)
    got = layer(distance)
    torch.testing.assert_close(got, want.clamp(min=1e-6).log() if log_scale else want)
    # an official file also holds the picture of sines
    official = {**layer.state_dict(), "base_embedding": torch.zeros(1, 31, 21, 16)}
    layer.load_state_dict(official)
    assert load_state_dict(torch.nn.ModuleDict({"a": layer}), {f"a.{k}": v for k, v in official.items()}) == []


def test_attention_equals_torchs():
    class Distance(torch.nn.Module):
        def forward(self, distance):
            return torch.stack((distance.sum(-1), -distance[..., 0]), 1)

    layer = KeypointTransformer(8, 2, 2, Distance())
    for attention in layer.decoder:
        torch.nn.init.normal_(attention.in_proj_bias)
    x, points = torch.randn(2, 8, 3, 4), torch.rand(12, 2) * 20
    keys = [Keypoints(torch.rand(2, 5), torch.rand(2, 5, 2) * 20, torch.randn(2, 5, 8)) for _ in range(2)]
    query = want = x.flatten(2).transpose(1, 2)
    for attention, key in zip(layer.decoder, keys, strict=True):
        distance = (key.positions[:, None] - points[None, :, None]) / 4
        bias = torch.stack((distance.sum(-1), -distance[..., 0]), 1).flatten(0, 1)
        want = want + attention(query, key.features, key.features, attn_mask=bias)[0]
    got = layer(x, points, 4.0, keys).flatten(2).transpose(1, 2)
    torch.testing.assert_close(got, want.relu(), rtol=1e-4, atol=1e-5)


def test_key_points_learn_the_slow_rule():
    head = KeypointHead(CLASSES, 8, strides=STRIDES, stacked_convs=0, feat_channels=8)
    levels = head.points([torch.zeros(1, 1, *size) for size in SIZES])
    truth = NORMAL.gt_instances
    corners = truth.bboxes[:, 2:]
    scores, offsets, found = PointKptAssigner().assign(levels, corners, truth, CLASSES)
    start = 0
    for level in levels:
        nearest = [int((level[:, :2] - corner).norm(dim=1).argmin()) for corner in corners]
        for p, (x, y, stride, _) in enumerate(level.tolist()):
            shares = []
            for g, (label, box) in enumerate(zip(truth.labels.tolist(), truth.bboxes.tolist(), strict=True)):
                cx, cy = level[nearest[g], :2].tolist()
                w, h = box[2] - box[0], box[3] - box[1]
                # the least of the three ways to move the corners, by bisection
                low, high = 0.0, min(w, h) / 2
                for _ in range(60):
                    r = (low + high) / 2
                    both = (w - r) * (h - r)
                    ious = (both / (2 * w * h - both), (w - 2 * r) * (h - 2 * r) / (w * h))
                    ok = min(*ious, w * h / ((w + 2 * r) * (h + 2 * r))) >= 0.7
                    low, high = (r, high) if ok else (low, r)
                sigma = (2 * low + 1) / 6
                shares.append((torch.tensor(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)).exp().item(), label, g))
            share, label, g = max(shares)
            assert scores[start + p].sum().item() == pytest.approx(share, abs=1e-6)
            assert scores[start + p, label].item() == pytest.approx(share, abs=1e-6)
            assert found[start + p] == (p in nearest)
            if p in nearest:
                want = [(corners[g, 0].item() - x) / stride, (corners[g, 1].item() - y) / stride]
                assert offsets[start + p].tolist() == pytest.approx(want)
        start += len(level)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="input, cls, reg"):
        build("RetinaHead", keypoint_pos="neck")
    with pytest.raises(ConfigError, match="selection_method"):
        build("RetinaHead", feature_selection_cfg={"selection_method": "interpolation"})
    with pytest.raises(ConfigError, match="CenterNetHead has none"):
        BVRHead({"type": "CenterNetHead", "num_classes": 3, "feat_channels": 8}, {}, in_channels=8)
    with pytest.raises(ConfigError, match="corner_pooling"):
        KeypointHead(CLASSES, 8, corner_pooling=True)
    with pytest.raises(ConfigError, match="got middle"):
        KeypointHead(CLASSES, 8, head_types=["middle"])
    with pytest.raises(ConfigError, match="train_cfg"):
        KeypointHead(CLASSES, 8).loss_from({}, {}, [])
