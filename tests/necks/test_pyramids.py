"""Necks with mmdet's names beyond FPN: shapes, against the written-out rule, mistakes."""

import pytest
import torch
import torch.nn.functional as F

from foveal.errors import ConfigError
from foveal.necks import PAFPN, YOLOXPAFPN, CSPNeXtPAFPN, SSDNeck

CHANNELS = [8, 16, 24]
SIZES = [(13, 18), (7, 9), (4, 5)]  # not all even: a map is enlarged to the finer one's size


def maps():
    return tuple(torch.randn(2, c, *size) for c, size in zip(CHANNELS, SIZES, strict=True))


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
