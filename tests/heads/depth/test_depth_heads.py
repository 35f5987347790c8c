"""Heads that measure depth: sizes, planes by hand, unknown depths, focal lengths, mistakes."""

import pytest
import torch
from mmengine.structures import PixelData

from foveal.errors import ConfigError, DataError
from foveal.heads.depth import BTSHead, LKADepthHead
from foveal.heads.depth.bts_head import local_planar_guidance
from foveal.structures import DataSample

CHANNELS = (4, 6, 8, 10, 12)
HEADS = {
    "bts": lambda **options: BTSHead(CHANNELS, channels=128, **options),
    "lka": lambda **options: LKADepthHead(CHANNELS[1:], channels=8, **options),
}


def features(name, size=(75, 49)):
    strides = {"bts": (2, 4, 8, 16, 32), "lka": (4, 8, 16, 32)}[name]
    channels = {"bts": CHANNELS, "lka": CHANNELS[1:]}[name]
    return [
        torch.randn(2, c, *(-(-side // stride) for side in size)) for c, stride in zip(channels, strides, strict=True)
    ]


def samples(size=(75, 49), depth=None, **meta):
    data = torch.rand(2, 1, *size) * 9 + 0.5 if depth is None else depth
    return [DataSample(gt_depth_map=PixelData(data=x), metainfo=meta) for x in data]


@pytest.mark.parametrize("name", HEADS)
def test_sizes_and_gradients(name):
    head, feats = HEADS[name](), features(name)
    head.init_weights()
    depth = head.predict(feats, (75, 49))
    assert depth.shape == (2, 1, 75, 49) and (depth > 0).all() and (depth < 10).all()
    loss = head.loss(feats, samples())["loss_silog"]
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_unknown_depths_teach_nothing(name):
    head, feats = HEADS[name](min_depth=0.1), features(name)
    loss = head.loss(feats, samples(depth=torch.full((2, 1, 75, 49), 0.1)))["loss_silog"]
    loss.backward()
    assert loss == 0 and not any(p.grad.any() for p in head.parameters() if p.grad is not None)


def test_a_plane_that_is_faced_has_one_depth():
    code = torch.zeros(1, 3, 2, 3, dtype=torch.float64)
    code[:, 0] = -1e9  # no angle
    depth = local_planar_guidance(code, 4)
    torch.testing.assert_close(depth, torch.full((1, 1, 8, 12), 0.5, dtype=torch.float64))


def test_a_slanted_plane_by_hand():
    code = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    depth = local_planar_guidance(code, 2)
    theta, phi, distance = code.sigmoid()[0].unbind()
    for row in range(4):
        for column in range(4):
            t, p, d = (float(x[row // 2, column // 2]) for x in (theta * torch.pi / 3, phi * 2 * torch.pi, distance))
            u, v = (column % 2 - 0.5) / 2, (row % 2 - 0.5) / 2
            t, p = torch.tensor(t, dtype=torch.float64), torch.tensor(p, dtype=torch.float64)
            want = d / (t.sin() * p.cos() * u + t.sin() * p.sin() * v + t.cos())
            torch.testing.assert_close(depth[0, 0, row, column], want)


def test_focal_lengths():
    head, feats = HEADS["lka"](reference_focal=700.0), features("lka")
    one = head.predict(feats, (75, 49), samples(focal=700.0))
    two = head.predict(feats, (75, 49), samples(focal=1400.0))
    torch.testing.assert_close(two, 2 * one)
    with pytest.raises(DataError, match="needs the focal length of every image"):
        head.predict(feats, (75, 49), samples())


def test_depths_that_do_not_rise():
    with pytest.raises(ConfigError, match="LKADepthHead needs 0 <= min_depth < max_depth, got 5 and 5"):
        HEADS["lka"](min_depth=5, max_depth=5)
