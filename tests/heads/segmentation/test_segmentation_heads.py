"""What the segmentation heads share, and what each is."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData

from foveal.errors import ConfigError, DataError
from foveal.heads.segmentation.decode_head import resize
from foveal.registry import MODELS
from foveal.structures import DataSample

CHANNELS = (8, 12, 16, 20)
HEADS = {
    "FCNHead": {"in_channels": 20, "channels": 8},
    "FCNHead of stacked maps": {
        "type": "FCNHead",
        "in_channels": CHANNELS,
        "in_index": (0, 1, 2, 3),
        "input_transform": "resize_concat",
        "channels": 8,
        "num_convs": 1,
    },
    "UPerHead": {"in_channels": CHANNELS, "channels": 8},
    "UPerHead with gates": {
        "type": "UPerHead",
        "in_channels": CHANNELS,
        "channels": 8,
        "gn_conv_cfg": {"type": "gnconv", "kernel_size": 7, "proj_out": True, "order": 2},
    },
    "FFNetHead": {"in_channels": CHANNELS, "up_head": "C", "seg_head": "C"},
    "FFNetHead by the nearest pixel": {
        "type": "FFNetHead",
        "in_channels": CHANNELS,
        "up_head": "B",
        "seg_head": "B",
        "up_mode": "nearest",
    },
    "DCFAMHead": {"in_channels": CHANNELS, "dropout_ratio": 0.0},
    "UPerHead of two maps": {"type": "UPerHead", "in_channels": CHANNELS[2:], "in_index": (2, 3), "channels": 8},
}


def build(name, **changes):
    config = {"type": name, "num_classes": 5, "norm_cfg": {"type": "SyncBN"}, **HEADS[name], **changes}
    return MODELS.build(config)


def features(size, batch=2):
    sides = [[-(-s // stride) for s in size] for stride in (4, 8, 16, 32)]
    return [torch.randn(batch, c, *side) for c, side in zip(CHANNELS, sides, strict=True)]


def samples(labels):
    return [DataSample(gt_sem_seg=PixelData(data=label[None]), metainfo={"img_path": "a.jpg"}) for label in labels]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("size", [(64, 96), (75, 49)])
def test_shapes_losses_and_gradients(name, size):
    head, feats = build(name), features(size)
    logits = head.eval()(feats)
    assert logits.shape[:2] == (2, 5)
    assert logits.shape[-2:] == feats[{"FCNHead": 3, "UPerHead of two maps": 2}.get(name, 0)].shape[-2:]
    assert head.predict(feats, size).shape == (2, 5, *size)
    losses = head.train().loss(feats, samples(torch.randint(0, 5, (2, *size))))
    assert set(losses) == {"loss_ce", "acc_seg"}
    losses["loss_ce"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_an_all_ignored_map_gives_a_finite_zero(name):
    head, feats = build(name), features((64, 64))
    losses = head.loss(feats, samples(torch.full((2, 64, 64), 255)))
    losses["loss_ce"].backward()
    assert losses["loss_ce"].item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_the_loss_is_that_of_the_resized_logits():
    head, feats = build("FCNHead").eval(), features((64, 64))
    labels = torch.randint(0, 5, (2, 64, 64))
    labels[0, :9] = 255
    logits = F.interpolate(head(feats), (64, 64), mode="bilinear", align_corners=False)
    losses = head.loss(feats, samples(labels))
    want = F.cross_entropy(logits, labels, ignore_index=255, reduction="sum") / labels.numel()
    torch.testing.assert_close(losses["loss_ce"], want)
    valid = labels != 255
    accuracy = (logits.argmax(1) == labels)[valid].float().mean() * 100
    torch.testing.assert_close(losses["acc_seg"], accuracy[None], rtol=1e-4, atol=1e-4)


def test_logits_are_resized_once_per_loss(monkeypatch):
    calls = []
    original = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda x, size, **kw: calls.append(tuple(size)) or original(x, size, **kw))
    head = build(
        "FCNHead", loss_decode=[{"type": "CrossEntropyLoss"}, {"type": "CrossEntropyLoss", "loss_weight": 2.0}]
    )
    head.loss(features((64, 64)), samples(torch.zeros(2, 64, 64, dtype=torch.long)))
    assert calls == [(64, 64)]


def test_losses_of_one_name_add_up_and_others_stand_beside():
    feats, labels = features((64, 64)), samples(torch.randint(0, 5, (2, 64, 64)))
    head = build(
        "FCNHead",
        loss_decode=[
            {"type": "CrossEntropyLoss"},
            {"type": "CrossEntropyLoss", "loss_weight": 2.0},
            {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_name": "loss_bce"},
        ],
    ).eval()
    losses = head.loss(feats, labels)
    single = build("FCNHead").eval()
    single.load_state_dict(head.state_dict())
    torch.testing.assert_close(losses["loss_ce"], 3 * single.loss(feats, labels)["loss_ce"])
    assert losses["loss_bce"] > 0


def test_two_classes_by_a_threshold():
    loss = {"type": "CrossEntropyLoss", "use_sigmoid": True}
    head = build("FCNHead", num_classes=2, out_channels=1, threshold=0.5, loss_decode=loss).eval()
    feats, labels = features((64, 64)), torch.randint(0, 2, (2, 64, 64))
    logits = resize(head(feats), (64, 64))[:, 0]
    losses = head.loss(feats, samples(labels))
    torch.testing.assert_close(losses["loss_ce"], F.binary_cross_entropy_with_logits(logits, labels.float()))
    accuracy = ((logits > 0) == labels.bool()).float().mean() * 100
    torch.testing.assert_close(losses["acc_seg"], accuracy[None], rtol=1e-4, atol=1e-4)


def test_resize_leaves_the_right_size_alone():
    x = torch.randn(1, 2, 5, 7)
    assert resize(x, (5, 7)) is x


def test_a_wrong_label_names_the_image():
    labels = torch.zeros(2, 64, 64, dtype=torch.long)
    labels[1, 3, 3] = 5
    with pytest.raises(DataError, match=r"a\.jpg: label 5 is neither a class \(0 to 4\) nor ignore_index \(255\)"):
        build("FCNHead").loss(features((64, 64)), samples(labels))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("FCNHead", {"in_index": (0, 1)}, "reads one feature map"),
        ("FCNHead", {"input_transform": "concat"}, "resize_concat, multiple_select or None"),
        ("FCNHead", {"num_convs": 0}, "needs channels=20, got 8"),
        ("FCNHead", {"out_channels": 3}, "must be num_classes"),
        ("FCNHead", {"num_classes": 2, "out_channels": 1}, "use_sigmoid=True"),
        ("FCNHead", {"chanels": 3}, "has no argument 'chanels' .*'channels'"),
        ("UPerHead", {"in_index": (0, 1)}, "go in pairs"),
    ],
)
def test_contradictions_are_named(name, changes, message):
    with pytest.raises(ConfigError, match=message):
        build(name, **changes)


@pytest.mark.parametrize("wrong", [{"up_head": "D"}, {"seg_head": "D"}, {"up_mode": "bicubic"}])
def test_ffnet_has_three_heads_and_two_modes(wrong):
    with pytest.raises(ConfigError, match="FFNetHead has up_head and seg_head A, B or C and up_mode"):
        build("FFNetHead", **wrong)


def test_dcfam_of_black_images_is_finite():
    """A pixel whose channels are all zero has no direction."""
    head = build("DCFAMHead").train()
    for module in head.modules():
        if hasattr(module, "gamma"):
            torch.nn.init.ones_(module.gamma)
    loss = head.loss(
        [torch.zeros_like(x) for x in features((64, 64))], samples(torch.zeros(2, 64, 64, dtype=torch.long))
    )
    loss["loss_ce"].backward()
    assert loss["loss_ce"].isfinite() and all(p.grad.isfinite().all() for p in head.parameters())
