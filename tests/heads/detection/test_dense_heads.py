"""Heads that predict at every point: targets against slow formulations, awkward batches, initialisation."""

import math

import pytest
import torch
from mmengine.structures import InstanceData

from foveal.errors import ConfigError
from foveal.heads.detection import (
    ATSSHead,
    CenterNetHead,
    FCOSHead,
    RetinaHead,
    RTMDetInsSepBNHead,
    RTMDetSepBNHead,
    SSDHead,
    YOLOv8Head,
    YOLOXHead,
)
from foveal.heads.detection.centernet_head import center_targets
from foveal.heads.detection.dense import centerness_target
from foveal.heads.detection.gaussian import gaussian_radius
from foveal.heads.detection.ssd_head import hard_negative_sum
from foveal.heads.detection.yolox_head import decode, encode
from foveal.structures import DataSample

CLASSES = 3
SIZES = [(12, 16), (6, 8), (3, 4)]
STRIDES = [8, 16, 32]
SHAPE = (96, 128)
TEST_CFG = {"nms_pre": 50, "score_thr": 0.0, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 10}
FOCAL = {"type": "FocalLoss"}


def retina(**options):
    anchors = {"type": "AnchorGenerator", "scales": [4], "ratios": [0.5, 2.0], "strides": STRIDES}
    assigner = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0}
    train_cfg = {"assigner": assigner, "sampler": {"type": "PseudoSampler"}, "allowed_border": -1, "pos_weight": -1}
    options = {"loss_cls": FOCAL, "train_cfg": train_cfg, "test_cfg": TEST_CFG, **options}
    head = RetinaHead(CLASSES, 8, stacked_convs=1, feat_channels=8, anchor_generator=anchors, **options)
    head.init_weights()
    return head


def fcos(**options):
    options = {"regress_ranges": ((-1, 24), (24, 48), (48, 1e8)), "test_cfg": TEST_CFG, **options}
    norm = {"type": "GN", "num_groups": 4}
    head = FCOSHead(CLASSES, 8, strides=STRIDES, stacked_convs=1, feat_channels=8, norm_cfg=norm, **options)
    head.init_weights()
    return head


def atss():
    anchors = {"type": "AnchorGenerator", "scales": [4], "ratios": [1.0], "strides": STRIDES}
    options = {"train_cfg": {"assigner": {"type": "ATSSAssigner", "topk": 4}}, "test_cfg": TEST_CFG}
    options |= {"loss_cls": FOCAL, "loss_bbox": {"type": "GIoULoss"}, "norm_cfg": {"type": "GN", "num_groups": 4}}
    return initialised(ATSSHead(CLASSES, 8, stacked_convs=1, feat_channels=8, anchor_generator=anchors, **options))


def rtmdet(kind=RTMDetSepBNHead, **options):
    train_cfg = {"assigner": {"type": "DynamicSoftLabelAssigner", "topk": 5}}
    norm = {"type": "GN", "num_groups": 4}
    options = {"stacked_convs": 1, "feat_channels": 8, "norm_cfg": norm, "train_cfg": train_cfg, **options}
    return initialised(kind(CLASSES, 8, test_cfg=TEST_CFG, **options))


def ssd(**options):
    anchors = {"min_sizes": [16, 32, 60], "max_sizes": [32, 60, 90], "ratios": [[2], [2, 3], [2]]}
    anchors |= {"type": "SSDAnchorGenerator", "scale_major": False, "strides": STRIDES}
    assigner = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "gt_max_assign_all": False}
    train_cfg = {"assigner": assigner, "neg_pos_ratio": 3, "smoothl1_beta": 1.0}
    options = {"in_channels": [8, 8, 8], "train_cfg": train_cfg, "test_cfg": TEST_CFG, **options}
    return initialised(SSDHead(CLASSES, anchor_generator=anchors, **options))


def yolox(use_l1=False):
    norm = {"type": "GN", "num_groups": 4}
    options = {"strides": STRIDES, "train_cfg": {"assigner": {"type": "SimOTAAssigner"}}, "test_cfg": TEST_CFG}
    head = initialised(YOLOXHead(CLASSES, 8, stacked_convs=1, feat_channels=8, norm_cfg=norm, **options))
    head.use_l1 = use_l1
    return head


def yolov8(**options):
    train_cfg = {"assigner": {"type": "BatchTaskAlignedAssigner", "topk": 10, "alpha": 0.5}}
    options = {"train_cfg": train_cfg, "test_cfg": TEST_CFG, **options}
    return initialised(YOLOv8Head(CLASSES, (8, 8, 8), STRIDES, norm_cfg={"type": "GN", "num_groups": 4}, **options))


def initialised(head):
    head.init_weights()
    return head


HEADS = {
    "retina": retina,
    "retina_softmax": lambda: retina(loss_cls={"type": "CrossEntropyLoss"}),
    "retina_giou": lambda: retina(reg_decoded_bbox=True, loss_bbox={"type": "GIoULoss"}),
    "fcos": fcos,
    "fcos_center": lambda: fcos(
        center_sampling=True, norm_on_bbox=True, centerness_on_reg=True, dcn_on_last_conv=False
    ),
    "atss": atss,
    "rtmdet": rtmdet,
    "rtmdet_exp": lambda: rtmdet(exp_on_reg=True, with_objectness=False, share_conv=False, use_depthwise=True),
    "rtmdet_ins": lambda: rtmdet(RTMDetInsSepBNHead, with_objectness=True),
    "ssd": ssd,
    "ssdlite": lambda: ssd(use_depthwise=True, reg_decoded_bbox=True),
    "yolox": yolox,
    "yolox_l1": lambda: yolox(use_l1=True),
    "yolov8": yolov8,
}
# what an image without boxes teaches
WITHOUT_BOXES = {"ssd": set(), "ssdlite": set(), "yolox": {"loss_obj"}, "yolox_l1": {"loss_obj"}}


def feats(count=2):
    return tuple(torch.randn(count, 8, *size) for size in SIZES)


def sample(boxes=(), labels=(), crowds=None, **meta):
    truth = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long)
    )
    truth.masks = torch.zeros(len(truth), *SHAPE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(truth.masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    shapes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), SHAPE)
    meta = {**shapes, "scale_factor": (1.0, 1.0), **meta}
    found = DataSample(gt_instances=truth, metainfo=meta)
    if crowds is not None:
        found.ignored_instances = InstanceData(bboxes=torch.tensor(crowds, dtype=torch.float32).reshape(-1, 4))
    return found


NORMAL = sample([[8, 8, 60, 70], [40, 20, 120, 90]], [0, 2])
EMPTY = sample()
CROWD = sample(crowds=[[0, 0, 100, 90]])
PIXEL = sample([[33, 47, 34, 48]], [1])
ZERO = sample([[20, 20, 20, 20]], [1])
OUTSIDE = sample([[900, 900, 950, 990]], [1])


def total(losses):
    return sum(sum(x) if isinstance(x, list) else x for x in losses.values())


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "batch",
    [[NORMAL, EMPTY], [EMPTY, CROWD], [PIXEL, CROWD], [ZERO, OUTSIDE], [NORMAL, PIXEL]],
    ids=["empty", "nothing", "pixel", "degenerate", "normal"],
)
def test_awkward_batches(name, batch):
    head = HEADS[name]()
    losses = head.loss(feats(), batch)
    total(losses).backward()
    assert all(
        torch.isfinite(x).all() for value in losses.values() for x in (value if isinstance(value, list) else [value])
    )
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", HEADS)
def test_image_without_boxes_has_no_box_loss(name):
    losses = HEADS[name]().loss(feats(), [EMPTY, CROWD])
    assert {key for key in losses if total({key: losses[key]}) != 0} == WITHOUT_BOXES.get(name, {"loss_cls"})


@pytest.mark.parametrize("name", HEADS)
def test_prediction_is_the_same_alone_and_in_a_batch(name):
    head = HEADS[name]().eval()
    maps = feats()
    scaled = sample(scale_factor=(2.0, 0.5))
    both = head.predict(maps, [NORMAL, scaled])
    alone = head.predict(tuple(x[1:] for x in maps), [scaled])[0]
    torch.testing.assert_close(both[1].bboxes, alone.bboxes)
    assert torch.equal(both[1].labels, alone.labels) and len(alone) == 10
    raw = head.predict(tuple(x[1:] for x in maps), [scaled], rescale=False)[0]
    torch.testing.assert_close(raw.bboxes / torch.tensor([2, 0.5, 2, 0.5]), alone.bboxes)
    if "yolox" not in name:  # whose boxes may stand out of the image
        assert (raw.bboxes >= 0).all() and (raw.bboxes[:, 2:] <= torch.tensor(SHAPE[::-1])).all()


def test_yolov8_starts_with_five_objects_in_640_pixels():
    head = yolov8()
    feats = tuple(torch.zeros(1, 8, 640 // stride, 640 // stride) for stride in STRIDES)
    for bias, stride in zip((tower[-1].bias for tower in head.cv3), STRIDES, strict=True):
        expected = bias.exp().sum() * (640 / stride) ** 2
        assert expected.item() == pytest.approx(5, rel=1e-4)
    assert [x.shape[1] for x in head(feats)[1]] == [64, 64, 64]


def test_yolov8_with_another_number_of_levels():
    with pytest.raises(ConfigError, match="YOLOv8Head got 2 in_channels but 3 strides"):
        YOLOv8Head(3, (8, 8))


@pytest.mark.parametrize(("call", "missing"), [("loss", "train_cfg"), ("predict", "test_cfg")])
def test_yolov8_without_its_settings(call, missing):
    with pytest.raises(ConfigError, match=f"no {missing}"):
        getattr(yolov8(**{missing: None}), call)(feats(1), [NORMAL])


@pytest.mark.parametrize(("head", "name"), [(retina(), "retina_cls"), (fcos(), "conv_cls")])
def test_initialisation(head, name):
    layer = getattr(head, name)
    torch.testing.assert_close(layer.bias, torch.full_like(layer.bias, -math.log(99)))
    for conv in (layer, head.cls_convs[0].conv, head.reg_convs[0].conv):
        assert 0.007 < conv.weight.std() < 0.013


def test_anchors_outside_the_padded_image_are_ignored():
    head = retina()
    torch.nn.init.zeros_(head.retina_cls.weight)
    maps = feats(1)
    full = head.loss(maps, [sample()])["loss_cls"]
    half = head.loss(maps, [sample(pad_shape=(48, 128))])["loss_cls"]
    for a, b, (height, _) in zip(full, half, SIZES, strict=True):
        torch.testing.assert_close(b * height, a * math.ceil(height / 2))


def test_allowed_border():
    train_cfg = {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4}, "allowed_border": 0}
    head = retina(train_cfg=train_cfg)
    torch.nn.init.zeros_(head.retina_cls.weight)
    maps = feats(1)
    losses = head.loss(maps, [sample()])["loss_cls"]
    (each,) = head.loss_cls(torch.full((1, CLASSES), -math.log(99)), torch.tensor([CLASSES]), reduction_override="none")
    for level, anchors in zip(losses, head.prior_generator.grid_priors(SIZES), strict=True):
        inside = (anchors[:, 0] >= 0) & (anchors[:, 1] >= 0) & (anchors[:, 2] < SHAPE[1]) & (anchors[:, 3] < SHAPE[0])
        torch.testing.assert_close(level, inside.sum() * each.sum())


def test_crowd_regions_are_not_background():
    assigner = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "ignore_iof_thr": 0.5}
    head, maps = retina(train_cfg={"assigner": assigner}), feats(1)
    # the image without boxes is background, as mmdet has it; with one box the crowd counts
    box = {"boxes": [[8, 8, 40, 40]], "labels": [0]}
    with_crowd = total(head.loss(maps, [sample(**box, crowds=[[50, 0, 128, 96]])]))
    assert with_crowd < total(head.loss(maps, [sample(**box)]))


@pytest.mark.parametrize("name", ["fcos", "fcos_center"])
def test_fcos_targets_equal_the_slow_rule(name):
    head = HEADS[name]()
    batch = [NORMAL, sample([[0, 0, 128, 96], [30, 30, 50, 44], [32, 32, 48, 40]], [0, 1, 2]), EMPTY]
    points = head.prior_generator.grid_priors(SIZES, with_stride=True)
    labels, goals = head._targets(points, batch)
    assert (labels < CLASSES).any(1).tolist() == [True, True, False]
    for i, image in enumerate(batch):
        k = 0
        for level, (low, high) in zip(points, head.regress_ranges, strict=True):
            for x, y, stride, _ in level.tolist():
                best = (math.inf, CLASSES, None)
                for box, label in zip(
                    image.gt_instances.bboxes.tolist(), image.gt_instances.labels.tolist(), strict=True
                ):
                    x1, y1, x2, y2 = box
                    sides = (x - x1, y - y1, x2 - x, y2 - y)
                    inside = min(sides) > 0
                    if head.center_sampling:
                        cx, cy, reach = (x1 + x2) / 2, (y1 + y2) / 2, 1.5 * stride
                        inside = max(cx - reach, x1) < x < min(cx + reach, x2) and max(cy - reach, y1) < y < min(
                            cy + reach, y2
                        )
                    area = (x2 - x1) * (y2 - y1)
                    if inside and low <= max(sides) <= high and area < best[0]:
                        best = (area, label, [s / stride if head.norm_on_bbox else s for s in sides])
                assert labels[i, k] == best[1]
                if best[2] is not None:
                    assert goals[i, k].tolist() == pytest.approx(best[2])
                k += 1


def test_centerness_by_hand():
    got = centerness_target(torch.tensor([[4.0, 2, 4, 2], [1, 2, 4, 8], [0, 1, 1, 1]]))
    torch.testing.assert_close(got, torch.tensor([1.0, 0.25, 0.0]))


def test_fcos_output_is_in_pixels_when_predicting():
    head, maps = HEADS["fcos_center"](), feats(1)
    training = head.train()(maps)[1]
    pixels = head.eval()(maps)[1]
    for a, b, stride in zip(training, pixels, STRIDES, strict=True):
        torch.testing.assert_close(a * stride, b)
    # the loss is in strides whatever the mode
    assert total(head.loss(maps, [NORMAL])) == total(head.train().loss(maps, [NORMAL]))


def test_half_precision_inputs_give_finite_losses():
    for make in HEADS.values():
        head = make().bfloat16()
        losses = head.loss(tuple(x.bfloat16() for x in feats()), [NORMAL, EMPTY])
        assert total(losses).isfinite() and total(losses).dtype == torch.float32


def test_hard_negatives_by_hand():
    loss = torch.tensor([[5.0, 1, 4, 3, 2], [1, 2, 3, 4, 5], [9, 1, 2, 3, 4]])
    positive = torch.tensor([[True, False, False, False, False], [False] * 5, [True, True, True, False, False]])
    # 1 positive and its 3 hardest negatives; none; 3 positives and the 2 negatives that there are
    assert hard_negative_sum(loss, positive, 3).tolist() == [14, 0, 19]


def test_masks_are_those_of_grouped_convolutions():
    head = HEADS["rtmdet_ins"]()
    feat, points = torch.randn(8, 12, 16), torch.tensor([[16.0, 24, 8, 8], [64, 32, 32, 32]])
    kernels = torch.randn(2, head.num_gen_params)
    got = head._mask_logits(feat, kernels, points)
    for i in range(2):
        sizes = [80, 64, 8, 8, 8, 1]
        w1, w2, w3, b1, b2, b3 = kernels[i].split(sizes)
        ys, xs = torch.meshgrid(torch.arange(12.0) * 8, torch.arange(16.0) * 8, indexing="ij")
        offsets = torch.stack((points[i, 0] - xs, points[i, 1] - ys)) / (points[i, 2] * 8)
        x = torch.cat((offsets, feat))[None]
        for weight, bias, last in ((w1, b1, False), (w2, b2, False), (w3, b3, True)):
            x = torch.nn.functional.conv2d(x, weight.view(len(bias), -1, 1, 1), bias)
            x = x if last else x.relu()
        torch.testing.assert_close(got[i], x[0, 0], rtol=1e-4, atol=1e-4)


def test_masks_have_the_original_size():
    head = HEADS["rtmdet_ins"]().eval()
    scaled = sample(scale_factor=(2.0, 2.0), ori_shape=(48, 64))
    (found,) = head.predict(feats(1), [scaled])
    assert found.masks.shape == (10, 48, 64) and found.masks.dtype == torch.bool
    assert set(found.keys()) == {"bboxes", "scores", "labels", "masks"}


def centernet():
    return initialised(CenterNetHead(8, 8, CLASSES, test_cfg={"topk": 5, "local_maximum_kernel": 3}))


@pytest.mark.parametrize("batch", [[NORMAL, EMPTY], [EMPTY, CROWD], [PIXEL, ZERO], [OUTSIDE, NORMAL]])
def test_centernet_on_awkward_batches(batch):
    head = centernet()
    losses = head.loss((torch.randn(2, 8, 24, 32),), batch)
    total(losses).backward()
    assert all(x.isfinite() for x in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_centernet_targets_equal_the_slow_rule():
    crowded = sample([[8, 8, 60, 70], [10, 10, 58, 68], [40, 20, 120, 90]], [0, 0, 2])
    got = center_targets([NORMAL, crowded], (2, CLASSES, 24, 32), torch.float32)
    for i, image in enumerate([NORMAL, crowded]):
        heatmap = torch.zeros(CLASSES, 24, 32)
        for box, label in zip(image.gt_instances.bboxes / 4, image.gt_instances.labels, strict=True):
            x, y = ((box[:2] + box[2:]) / 2).tolist()
            radius = int(gaussian_radius((box[2:] - box[:2])[None], 0.3))
            for row in range(24):
                for column in range(32):
                    dx, dy = column - int(x), row - int(y)
                    if max(abs(dx), abs(dy)) <= radius:
                        value = math.exp(-(dx**2 + dy**2) / (2 * ((2 * radius + 1) / 6) ** 2))
                        heatmap[label, row, column] = max(heatmap[label, row, column], value)
            middle = got["wh"][i, :, int(y), int(x)], got["offset"][i, :, int(y), int(x)]
        torch.testing.assert_close(got["heatmap"][i], heatmap, rtol=1e-5, atol=1e-6)
        # of two boxes with one middle the last counts
        torch.testing.assert_close(middle[0], box[2:] - box[:2])
        assert middle[1].tolist() == pytest.approx([x % 1, y % 1])
    assert got["weight"].sum((1, 2, 3)).tolist() == [2, 2]


def test_gaussian_radius_keeps_the_overlap():
    size = torch.tensor([[40.0, 60], [7, 90], [3, 3]])
    for (w, h), r in zip(size.tolist(), gaussian_radius(size, 0.7).tolist(), strict=True):
        shifted = (w - r) * (h - r)
        smaller = (w - 2 * r) * (h - 2 * r) / (w * h)
        larger = w * h / ((w + 2 * r) * (h + 2 * r))
        assert min(shifted / (2 * w * h - shifted), smaller, larger) >= 0.7


def test_centernet_predicts_local_maxima():
    head = centernet().eval()
    both = head.predict((torch.randn(1, 8, 24, 32),) * 1, [sample(scale_factor=(2.0, 2.0), border=(4, 0, 8, 0))])[0]
    assert len(both) == 5 and (both.scores[:-1] >= both.scores[1:]).all() and both.labels.max() < CLASSES
    raw = torch.zeros(1, CLASSES, 24, 32)
    raw[0, 1, 10, 20], raw[0, 1, 10, 21] = 0.9, 0.8
    head.forward = lambda _: ([raw], [torch.full((1, 2, 24, 32), 4.0)], [torch.full((1, 2, 24, 32), 0.5)])
    (found,) = head.predict((raw,), [sample(scale_factor=(2.0, 2.0), border=(4, 0, 8, 0))])
    # the neighbour is no maximum; ((20.5 - 2) * 4 - 8) / 2, ((10.5 - 2) * 4 - 4) / 2
    assert found.bboxes[0].tolist() == [33, 15, 41, 23] and found.labels[0] == 1 and found.scores[1] == 0
    with pytest.raises(ConfigError, match="one feature map"):
        centernet()((raw, raw))


def test_yolox_decodes_what_it_encodes():
    priors = torch.tensor([[8.0, 16, 8, 8], [32, 0, 16, 16]])
    boxes = torch.tensor([[2.0, 3, 30, 50], [30, 1, 60, 9]])
    torch.testing.assert_close(decode(priors, encode(priors, boxes)), boxes, rtol=1e-5, atol=1e-4)


def test_points_outside_the_padded_image_are_ignored():
    head, maps = HEADS["rtmdet_exp"](), feats(1)
    for conv in head.rtm_cls:
        torch.nn.init.zeros_(conv.weight)
    full = head.loss(maps, [sample()])["loss_cls"]
    half = head.loss(maps, [sample(pad_shape=(48, 128))])["loss_cls"]
    for a, b, (height, _) in zip(full, half, SIZES, strict=True):
        torch.testing.assert_close(b * height, a * math.ceil(height / 2))


def test_levels_share_convolutions_but_not_norms():
    head = rtmdet()
    first, second = head.cls_convs[0][0], head.cls_convs[1][0]
    assert first.conv is second.conv and first.gn is not second.gn
    with pytest.raises(ConfigError, match="share_conv"):
        rtmdet(use_depthwise=True)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="test_cfg"):
        CenterNetHead(8, 8, CLASSES).predict(feats(), [NORMAL, EMPTY])
    for make in (atss, rtmdet, ssd, yolox):
        head = make()
        head.train_cfg = head.test_cfg = None
        with pytest.raises(ConfigError, match="train_cfg"):
            head.loss(feats(), [NORMAL, EMPTY])
        with pytest.raises(ConfigError, match="test_cfg"):
            head.predict(feats(), [NORMAL, EMPTY])
    with pytest.raises(ConfigError, match="2 in_channels"):
        ssd(in_channels=[8, 8])
    with pytest.raises(ConfigError, match="train_cfg"):
        retina(train_cfg=None).loss(feats(), [NORMAL, EMPTY])
    with pytest.raises(ConfigError, match="test_cfg"):
        fcos(test_cfg=None).predict(feats(), [NORMAL, EMPTY])
    with pytest.raises(ConfigError, match="3 strides, but got 2"):
        fcos()(feats()[:2])
    with pytest.raises(ConfigError, match="3 strides, but got 2"):
        retina().loss(feats()[:2], [NORMAL, EMPTY])
    with pytest.raises(ConfigError, match="dcn_on_last_conv"):
        fcos(dcn_on_last_conv=True)
    with pytest.raises(ConfigError, match="regress_ranges"):
        fcos(regress_ranges=((-1, 1),))
