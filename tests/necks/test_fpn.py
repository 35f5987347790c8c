import pytest
import torch
import torch.nn.functional as F

from foveal.errors import ConfigError
from foveal.necks import FPN

CHANNELS = [4, 6, 8]
SIZES = [(16, 20), (8, 10), (4, 5)]


def maps():
    return tuple(torch.randn(2, c, *size) for c, size in zip(CHANNELS, SIZES, strict=True))


def slow_fpn(neck, inputs, extra, relu):
    """The pyramid written out for start_level 0 with two extra maps."""
    lateral = [m.conv(x) for m, x in zip(neck.lateral_convs, inputs, strict=True)]
    lateral[1] = lateral[1] + F.interpolate(lateral[2], size=SIZES[1])
    lateral[0] = lateral[0] + F.interpolate(lateral[1], size=SIZES[0])
    outs = [neck.fpn_convs[i].conv(x) for i, x in enumerate(lateral)]
    if extra is False:
        outs.append(outs[-1][:, :, ::2, ::2])
        outs.append(outs[-1][:, :, ::2, ::2])
        return outs
    source = {"on_input": inputs[-1], "on_lateral": lateral[-1], "on_output": outs[-1]}[extra]
    outs.append(neck.fpn_convs[3].conv(source))
    outs.append(neck.fpn_convs[4].conv(outs[-1].relu() if relu else outs[-1]))
    return outs


@pytest.mark.parametrize("extra", [False, "on_input", "on_lateral", "on_output"])
@pytest.mark.parametrize("relu", [False, True])
def test_equals_the_written_out_pyramid(extra, relu):
    neck = FPN(CHANNELS, 8, 5, add_extra_convs=extra, relu_before_extra_convs=relu)
    inputs = maps()
    got, expected = neck(inputs), slow_fpn(neck, inputs, extra, relu)
    assert neck.out_channels == (8,) * 5
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_true_means_on_input():
    assert FPN(CHANNELS, 8, 4, add_extra_convs=True).fpn_convs[3].conv.in_channels == CHANNELS[-1]


def test_levels_can_be_left_out():
    neck = FPN(CHANNELS, 8, 1, start_level=1, end_level=1)
    assert [tuple(x.shape) for x in neck(maps())] == [(2, 8, 8, 10)]


def test_norm_act_and_scale_factor():
    neck = FPN(
        CHANNELS,
        8,
        3,
        no_norm_on_lateral=True,
        norm_cfg={"type": "BN"},
        act_cfg={"type": "ReLU"},
        upsample_cfg={"mode": "bilinear", "scale_factor": 2, "align_corners": False},
    )
    assert not neck.lateral_convs[0].with_norm and neck.lateral_convs[0].conv.bias is not None
    assert neck.fpn_convs[0].with_norm and neck.fpn_convs[0].conv.bias is None
    outs = neck(maps())
    assert [tuple(x.shape[2:]) for x in outs] == SIZES and all((x >= 0).all() for x in outs)


def test_initialisation_is_xavier():
    neck = FPN([64], 64, 1)
    torch.nn.init.constant_(neck.fpn_convs[0].conv.bias, 1.0)
    neck.init_weights()
    weight, bias = neck.fpn_convs[0].conv.weight, neck.fpn_convs[0].conv.bias
    bound = (6 / (64 * 9 * 2)) ** 0.5
    assert 0.95 * bound < weight.abs().max() <= bound and (bias == 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_outs": 2}, "num_outs is 2"),
        ({"num_outs": 3, "end_level": 1}, "uses 2 maps"),
        ({"num_outs": 4, "add_extra_convs": "on_top"}, "on_top"),
        ({"num_outs": 3, "start_level": 3}, "incoming maps"),
    ],
)
def test_contradictions_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        FPN(CHANNELS, 8, **options)


def test_wrong_number_of_maps_is_refused():
    with pytest.raises(ConfigError, match="3 feature maps, got 2"):
        FPN(CHANNELS, 8, 3)(maps()[:2])
