"""EncoderDecoder: inference modes, sizes, padding, flips, auxiliary heads."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from torch import nn

from foveal.errors import ConfigError
from foveal.models.seg_tta import SegTTAModel
from foveal.models.segmentor import EncoderDecoder, window_starts
from foveal.registry import MODELS
from foveal.structures import DataSample

CLASSES = 4


class Pyramid(nn.Module):
    """Four maps by strided convolutions."""

    out_channels = (6, 8, 10, 12)
    out_strides = (4, 8, 16, 32)

    def __init__(self):
        super().__init__()
        widths = (3, *self.out_channels)
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 3, 4 if i == 0 else 2, padding=1) for i, (a, b) in enumerate(pairwise(widths))
        )

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return tuple(maps)


class PerPixel(nn.Module):
    """Labels from a pixel's own colour: any way of cutting the image gives the same logits."""

    align_corners, out_channels, threshold = False, CLASSES, 0.3

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, CLASSES, 1)

    def forward(self, feats):
        return self.conv(feats[0])

    def predict(self, feats, size):
        return self(feats)


class Pixels(nn.Module):
    out_channels, out_strides = (3,), (1,)

    def forward(self, x):
        return (x,)


def head(name="FCNHead", **more):
    return {"type": name, "channels": 8, "num_classes": CLASSES, "dropout_ratio": 0.0, **more}


def segmentor(decode_head=None, **more):
    return EncoderDecoder(Pyramid(), decode_head or head(), **more).eval()


def samples(size, count, **meta):
    labels = torch.randint(0, CLASSES, (count, 1, *size))
    return [DataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(meta)) for label in labels]


@pytest.mark.parametrize("name", ["FCNHead", "UPerHead"])
@pytest.mark.parametrize("size", [(64, 64), (75, 101), (33, 32)])
def test_any_size(name, size):
    model = segmentor(head(name))
    assert model.decode_head.in_channels == {"FCNHead": 12, "UPerHead": [6, 8, 10, 12]}[name]
    x = torch.randn(2, 3, *size)
    predicted = model(x, mode="predict")
    assert [p.pred_sem_seg.data.shape for p in predicted] == [(1, *size)] * 2
    losses = model(x, samples(size, 2), mode="loss")
    assert set(losses) == {"decode.loss_ce", "decode.acc_seg"}
    assert losses["decode.loss_ce"].isfinite()


def test_auxiliary_heads_read_their_maps():
    heads = [head(in_index=2), head("UPerHead", num_classes=CLASSES, in_index=(0, 1))]
    model = segmentor(auxiliary_head=heads)
    assert model.auxiliary_head[0].in_channels == 10
    assert model.auxiliary_head[1].in_channels == [6, 8]
    losses = model(torch.randn(1, 3, 64, 64), samples((64, 64), 1), mode="loss")
    assert set(losses) == {f"{p}.{n}" for p in ("decode", "aux_0", "aux_1") for n in ("loss_ce", "acc_seg")}
    single = segmentor(auxiliary_head=heads[0])
    assert "aux.loss_ce" in single(torch.randn(1, 3, 64, 64), samples((64, 64), 1), mode="loss")


def test_an_all_ignored_batch_trains_on():
    model = segmentor(auxiliary_head=head(in_index=2)).train()
    batch = samples((64, 64), 2)
    for sample in batch:
        sample.gt_sem_seg.data.fill_(255)
    total, logged = model.parse_losses(model(torch.randn(2, 3, 64, 64), batch, mode="loss"))
    total.backward()
    assert total.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    assert logged["loss"] == 0


def test_padding_is_cut_flip_undone_and_the_original_size_restored():
    model = segmentor()
    image = torch.randn(1, 3, 64, 96)
    x = F.pad(image.flip(3), (0, 32, 0, 64))
    meta = {"img_shape": (64, 96), "ori_shape": (40, 50), "flip": True, "flip_direction": "horizontal"}
    got = model(x, samples((128, 128), 1, **meta), mode="predict")[0]
    logits = model.encode_decode(x)[..., :64, :96].flip(3)
    want = F.interpolate(logits, (40, 50), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(got.seg_logits.data, want)
    assert torch.equal(got.pred_sem_seg.data, want.argmax(0, keepdim=True))


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_a_flipped_image_gets_the_labels_of_the_upright_one(direction):
    model = EncoderDecoder(Pixels(), PerPixel()).eval()
    dims = {"horizontal": (3,), "vertical": (2,), "diagonal": (2, 3)}[direction]
    x = torch.randn(1, 3, 20, 30)
    upright = model(x, mode="predict")[0].seg_logits.data
    meta = {"flip": True, "flip_direction": direction}
    flipped = model(x.flip(dims), samples((20, 30), 1, **meta), mode="predict")[0].seg_logits.data
    torch.testing.assert_close(flipped, upright)


@pytest.mark.parametrize("crop", [(64, 96), (100, 200)])
def test_one_window_over_the_whole_image_equals_whole(crop):
    model = segmentor()
    slide = segmentor(test_cfg={"mode": "slide", "crop_size": crop, "stride": (32, 32)})
    slide.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 96)
    torch.testing.assert_close(slide.slide_inference(x), model.encode_decode(x))


@pytest.mark.parametrize("window_batch", [1, 3])
@pytest.mark.parametrize(("crop", "stride"), [((16, 16), (10, 10)), ((16, 24), (16, 5)), ((50, 7), (1, 7))])
def test_windows_cover_the_image_and_average_to_a_per_pixel_model(crop, stride, window_batch):
    config = {"mode": "slide", "crop_size": crop, "stride": stride, "window_batch": window_batch}
    model = EncoderDecoder(Pixels(), PerPixel(), test_cfg=config).eval()
    x = torch.randn(2, 3, 37, 45)
    torch.testing.assert_close(model.slide_inference(x), model.encode_decode(x), rtol=1e-5, atol=1e-5)


def test_overlaps_are_averaged():
    slide = segmentor(test_cfg={"mode": "slide", "crop_size": (64, 64), "stride": (32, 64)})
    x = torch.randn(1, 3, 96, 64)
    upper, lower = slide.encode_decode(x[:, :, :64]), slide.encode_decode(x[:, :, 32:])
    got = slide.slide_inference(x)
    torch.testing.assert_close(got[:, :, :32], upper[:, :, :32])
    torch.testing.assert_close(got[:, :, 32:64], (upper[:, :, 32:] + lower[:, :, :32]) / 2)
    torch.testing.assert_close(got[:, :, 64:], lower[:, :, 32:])


@pytest.mark.parametrize(("length", "want"), [(10, [0]), (5, [0]), (11, [0, 1]), (20, [0, 6, 10]), (16, [0, 6])])
def test_window_starts(length, want):
    assert window_starts(length, crop=10, stride=6) == want


def test_two_classes_by_a_threshold():
    loss = {"type": "CrossEntropyLoss", "use_sigmoid": True}
    model = segmentor(head(num_classes=2, out_channels=1, threshold=0.4, loss_decode=loss))
    got = model(torch.randn(1, 3, 64, 64), mode="predict")[0]
    assert got.seg_logits.data.shape == (1, 64, 64)
    assert torch.equal(got.pred_sem_seg.data, (got.seg_logits.data > 0.4).long())


def test_training_steps_lower_the_loss():
    model = segmentor(head("UPerHead", norm_cfg={"type": "SyncBN"})).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, batch = torch.randn(2, 3, 64, 64), samples((64, 64), 2)
    for sample in batch:
        sample.gt_sem_seg.data = torch.arange(64).div(16, rounding_mode="floor").expand(1, 64, 64)
    values = []
    for _ in range(30):
        total, _ = model.parse_losses(model(x, batch, mode="loss"))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.5 * values[0]


def test_pretrained_becomes_the_backbones_init_cfg():
    config = {
        "type": "EncoderDecoder",
        "backbone": {"type": "ResNet", "depth": 18},
        "decode_head": head(),
        "pretrained": "somewhere.pth",
    }
    model = MODELS.build(copy.deepcopy(config))
    assert model.backbone.init_cfg == {"type": "Pretrained", "checkpoint": "somewhere.pth"}
    config["backbone"]["init_cfg"] = {"type": "Pretrained", "checkpoint": "other.pth"}
    with pytest.raises(ConfigError, match="without init_cfg"):
        MODELS.build(config)


@pytest.mark.parametrize(
    ("test_cfg", "message"),
    [
        ({"mode": "tiles"}, "whole or slide, got 'tiles'"),
        ({"mode": "slide"}, "crop_size must be"),
        ({"mode": "slide", "crop_size": (64, 64)}, "stride must be"),
        ({"mode": "slide", "crop_size": (64, 64), "stride": (65, 32)}, "from 1 to crop_size"),
    ],
)
def test_test_cfg_is_checked(test_cfg, message):
    with pytest.raises(ConfigError, match=message):
        segmentor(test_cfg=test_cfg)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("ori_shape", [(37, 50), (64, 96), (90, 81)])
def test_strips_give_the_labels_of_the_whole_image(ori_shape, align_corners):
    torch.manual_seed(0)
    head = {"type": "FCNHead", "channels": 8, "num_classes": CLASSES, "num_convs": 1, "align_corners": align_corners}
    model = EncoderDecoder(Pyramid(), {**head, "in_index": 1}).eval()
    nn.init.normal_(model.decode_head.conv_seg.weight)
    x = torch.randn(1, 3, 64, 96)
    meta = {"img_shape": (61, 90), "ori_shape": ori_shape}
    with torch.no_grad():
        whole = model(x, [DataSample(metainfo=meta)], mode="predict")[0]
        model.test_cfg["strip_rows"] = 7
        strips = model(x, [DataSample(metainfo=meta)], mode="predict")[0]
    labels = whole.pred_sem_seg.data
    assert len(labels.unique()) > 1
    assert (strips.pred_sem_seg.data == labels).float().mean() > 0.999
    assert "seg_logits" not in strips
    with pytest.raises(ConfigError, match="does not undo flips"):
        model(x, [DataSample(metainfo={**meta, "flip": True})], mode="predict")


def test_strips_refuse_windows():
    cfg = {"mode": "slide", "crop_size": (8, 8), "stride": (8, 8), "strip_rows": 4}
    with pytest.raises(ConfigError, match="mode whole only"):
        EncoderDecoder(Pixels(), PerPixel(), test_cfg=cfg)


def test_views_are_averaged_as_probabilities():
    model = SegTTAModel(module=EncoderDecoder(Pixels(), PerPixel()))
    logits = torch.randn(2, CLASSES, 5, 6)
    views = [DataSample(seg_logits=PixelData(data=x), metainfo={"img_path": "a.jpg"}) for x in logits]
    merged = model.merge_preds([views])[0]
    want = logits.softmax(1).mean(0)
    torch.testing.assert_close(merged.seg_logits.data, want)
    assert torch.equal(merged.pred_sem_seg.data[0], want.argmax(0))
    assert merged.img_path == "a.jpg"
