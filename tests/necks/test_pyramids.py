"""Necks with mmdet's names beyond FPN: shapes, against the written-out rule, mistakes."""

import pytest
import torch
import torch.nn.functional as F

from foveal.errors import ConfigError
from foveal.layers.deform_conv import ModulatedDeformConv2dPack
from foveal.necks import (
    GNFPN,
    PAFPN,
    YOLOXPAFPN,
    BiFPN,
    CSPNeXtPAFPN,
    CTResNetNeck,
    MambaYOLOPAFPN,
    SharedNeck,
    SSDNeck,
)

CHANNELS = [8, 16, 24]
SIZES = [(13, 18), (7, 9), (4, 5)]  # not all even: a map is enlarged to the finer one's size


def maps():
    return maps_of(SIZES)


def maps_of(sizes):
    return tuple(torch.randn(2, c, *size) for c, size in zip(CHANNELS, sizes, strict=True))


@pytest.mark.parametrize("extra", [False, "on_input", "on_lateral", "on_output"])
def test_pafpn_equals_the_written_out_path(extra):
    neck = PAFPN(CHANNELS, 8, 4, add_extra_convs=extra)
    inputs = maps()
    lateral = [m.conv(x) for m, x in zip(neck.lateral_convs, inputs, strict=True)]
    lateral[1] = lateral[1] + F.interpolate(lateral[2], size=SIZES[1])
    lateral[0] = lateral[0] + F.interpolate(lateral[1], size=SIZES[0])
    down = [neck.fpn_convs[i].conv(x) for i, x in enumerate(lateral)]
    down[1] = down[1] + neck.downsample_convs[0].conv(down[0])
    down[2] = down[2] + neck.downsample_convs[1].conv(down[1])
    outs = [down[0], neck.pafpn_convs[0].conv(down[1]), neck.pafpn_convs[1].conv(down[2])]
    if extra is False:
        outs.append(outs[-1][:, :, ::2, ::2])
    else:
        source = {"on_input": inputs[-1], "on_lateral": lateral[-1], "on_output": outs[-1]}[extra]
        outs.append(neck.fpn_convs[3].conv(source))
    for a, b in zip(neck(inputs), outs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", [YOLOXPAFPN, CSPNeXtPAFPN])
@pytest.mark.parametrize("use_depthwise", [False, True])
def test_csp_pyramids_keep_the_sizes(kind, use_depthwise):
    neck = kind(CHANNELS, 12, num_csp_blocks=1, use_depthwise=use_depthwise)
    outs = neck(maps())
    assert [tuple(x.shape) for x in outs] == [(2, 12, *size) for size in SIZES]
    assert neck.out_channels == (12, 12, 12)
    sum(x.mean() for x in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())
    with pytest.raises(ConfigError, match="built for 3 feature maps, got 2"):
        neck(maps()[:2])


def test_mamba_pyramid_keeps_the_shapes():
    neck = MambaYOLOPAFPN(CHANNELS, num_scans=2)
    inputs = maps()
    outs = neck(inputs)
    assert [x.shape for x in outs] == [x.shape for x in inputs]
    sum(x.mean() for x in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())
    with pytest.raises(ConfigError, match="built for 3 feature maps, got 2"):
        neck(inputs[:2])


@pytest.mark.parametrize("scale", [None, 5.0])
def test_ssd_neck(scale):
    neck = SSDNeck([8, 16], [8, 16, 32, 20], [2, 1], [1, 0], l2_norm_scale=scale, last_kernel_size=4)
    inputs = (torch.randn(2, 8, 16, 16), torch.randn(2, 16, 8, 8))
    outs = neck(inputs)
    assert [tuple(x.shape[1:]) for x in outs] == [(8, 16, 16), (16, 8, 8), (32, 4, 4), (20, 1, 1)]
    assert neck.out_channels == (8, 16, 32, 20) and outs[1] is inputs[1]
    if scale is None:
        assert outs[0] is inputs[0]
    else:
        torch.testing.assert_close(outs[0].norm(dim=1), torch.full((2, 16, 16), scale))
    with pytest.raises(ConfigError, match="got 1"):
        neck(inputs[:1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([8], [9, 4], [2], [1]), "begin with"),
        (([8], [8, 4], [2, 2], [1]), "got 2 and 1"),
        (([8], [8], [], []), "adds 0"),
    ],
)
def test_ssd_neck_names_mistakes(arguments, message):
    with pytest.raises(ConfigError, match=message):
        SSDNeck(*arguments)


@pytest.mark.parametrize("act_last", [False, True])
def test_bifpn_equals_the_written_out_exchange(act_last):
    neck = BiFPN(2, CHANNELS, 8, conv_bn_act_pattern=act_last).eval()
    for name, parameter in neck.named_parameters():
        if "_w" in name:
            torch.nn.init.uniform_(parameter, -0.2, 1)
    act = (lambda x: x) if act_last else F.silu

    def pool(x):
        h, w = x.shape[2:]
        return F.max_pool2d(F.pad(x, (w % 2, 1, h % 2, 1)), 3, 2)

    def mean(stage, name, *parts):
        weight = getattr(stage, name).relu()
        return act(sum(w * p for w, p in zip(weight, parts, strict=True)) / (weight.sum() + 1e-4))

    maps = inputs = tuple(x.relu() for x in maps_of(SIZES))
    for number, stage in enumerate(neck.bifpn):
        if number == 0:
            p3, p4, p5 = stage.p3_down_channel(maps[0]), stage.p4_down_channel(maps[1]), stage.p5_down_channel(maps[2])
            p6 = pool(stage.p5_to_p6(maps[2]))
            p7 = pool(p6)
        else:
            p3, p4, p5, p6, p7 = maps
        up = lambda x, like: F.interpolate(x, size=like.shape[2:])  # noqa: E731
        u6 = stage.conv6_up(mean(stage, "p6_w1", p6, up(p7, p6)))
        u5 = stage.conv5_up(mean(stage, "p5_w1", p5, up(u6, p5)))
        u4 = stage.conv4_up(mean(stage, "p4_w1", p4, up(u5, p4)))
        o3 = stage.conv3_up(mean(stage, "p3_w1", p3, up(u4, p3)))
        if number == 0:
            p4, p5 = stage.p4_level_connection(maps[1]), stage.p5_level_connection(maps[2])
        o4 = stage.conv4_down(mean(stage, "p4_w2", p4, u4, pool(o3)))
        o5 = stage.conv5_down(mean(stage, "p5_w2", p5, u5, pool(o4)))
        o6 = stage.conv6_down(mean(stage, "p6_w2", p6, u6, pool(o5)))
        o7 = stage.conv7_down(mean(stage, "p7_w2", p7, pool(o6)))
        maps = o3, o4, o5, o6, o7
    got = neck(inputs)
    assert neck.out_channels == (8,) * 5
    for a, b in zip(got, maps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="three maps, got 2"):
        BiFPN(1, CHANNELS, 8, start_level=1)


@pytest.mark.parametrize("kind", ["gnconv", "gngf"])
def test_gated_pyramid(kind):
    neck = GNFPN(CHANNELS, 8, 4, gn_conv_cfg={"type": kind, "proj_out": kind == "gnconv", "order": 2, "kernel_size": 7})
    outs = neck(maps())
    assert [tuple(x.shape) for x in outs] == [(2, 8, *size) for size in [*SIZES, (2, 3)]]
    if kind == "gnconv":
        conv, x = neck.fpn_convs[2], neck.lateral_convs[2](last := torch.randn(1, 24, 4, 5))
        first, gates = conv.proj_in(x).split((4, 12), 1)
        a, b = F.conv2d(gates, conv.dwconv.weight, conv.dwconv.bias, padding=3, groups=12).split((4, 8), 1)
        want = conv.proj_out(conv.pws[0](first * a) * b)
        got = neck((torch.randn(1, 8, 16, 20), torch.randn(1, 16, 8, 10), last))[2]
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="type must be"):
        GNFPN(CHANNELS, 8, 3, gn_conv_cfg={"type": "conv"})


@pytest.mark.parametrize("use_dcn", [True, False])
def test_centernet_neck(use_dcn):
    neck = CTResNetNeck(CHANNELS, [12, 8], [4, 4], use_dcn=use_dcn)
    neck.init_weights()
    (out,) = neck(maps())
    assert out.shape == (2, 8, 16, 20) and neck.out_channels == (8,)
    out.mean().backward()
    assert all(p.grad is not None for p in neck.parameters())
    kernel = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(neck.deconv_layers[1].conv.weight[3, 0], kernel[:, None] * kernel)
    with pytest.raises(ConfigError, match="2 num_deconv_filters but 1"):
        CTResNetNeck(8, [4, 4], [4])


def test_deformable_convolution_starts_as_half_a_plain_one():
    conv, x = ModulatedDeformConv2dPack(4, 6, 3, padding=1), torch.randn(1, 4, 7, 8)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight / 2, conv.bias, padding=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("add", [True, False])
def test_shared_neck(add):
    neck = SharedNeck(CHANNELS, 8, add=add, fixed_size_idx=1)
    inputs = maps()
    parts = [F.interpolate(c.conv(x), SIZES[1]) for c, x in zip(neck.lateral_convs, inputs, strict=True)]
    (got,) = neck(inputs)
    torch.testing.assert_close(got, neck.stacked_convs(sum(parts) if add else torch.cat(parts, 1)))
    assert neck.out_channels == (8,) and got.shape[2:] == SIZES[1]
    with pytest.raises(ConfigError, match="num_outs must be 1"):
        SharedNeck(CHANNELS, 8, 2)
    with pytest.raises(ConfigError, match="got 2"):
        neck(inputs[:2])
