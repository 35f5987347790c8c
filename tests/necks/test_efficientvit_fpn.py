import pytest
import torch
import torch.nn.functional as F

from foveal.errors import ConfigError
from foveal.necks import EfficientViTFPN

CHANNELS = [4, 6, 8]
SIZES = [(8, 10), (4, 5), (2, 3)]


def maps():
    return tuple(torch.randn(2, c, *size, dtype=torch.float64) for c, size in zip(CHANNELS, SIZES, strict=True))


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("extra", [1, 2])
def test_equals_the_written_out_pyramid(pre_norm, extra):
    neck = EfficientViTFPN(CHANNELS, 8, 4 + extra, num_extra_trans_convs=extra, pre_norm=pre_norm)
    neck = neck.double()
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter)
    inputs = maps()
    seen = inputs
    if pre_norm:
        seen = []
        for x, norm in zip(inputs, neck.batch_norm, strict=True):
            mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
            seen.append((x - mean) / (var + 1e-5).sqrt() * norm.weight + norm.bias)
    a, b, c = (m.conv(x) for m, x in zip(neck.lateral_convs, seen, strict=True))
    b = b + F.interpolate(c, size=SIZES[1])
    a = a + F.interpolate(b, size=SIZES[0])
    expected = [neck.fpn_convs[i].conv(x) for i, x in enumerate((a, b, c))]
    expected.append(expected[-1][:, :, ::2, ::2])
    finer = [neck.extra_trans_convs[0].conv(a)]
    if extra == 2:
        finer = [neck.extra_trans_convs[1].conv(finer[0]), *finer]
    expected = [neck.extra_fpn_convs[i].conv(x) for i, x in enumerate(finer)] + expected
    got = neck(inputs)
    assert neck.out_channels == (8,) * (4 + extra)
    assert tuple(got[0].shape[-2:]) == (8 * 2**extra, 10 * 2**extra)
    for x, y in zip(got, expected, strict=True):
        torch.testing.assert_close(x, y)


def test_keys_of_the_official_checkpoints():
    neck = EfficientViTFPN(CHANNELS, 8, 5, num_extra_trans_convs=1, pre_norm=True)
    shapes = {key: tuple(value.shape) for key, value in neck.state_dict().items()}
    assert shapes["batch_norm.2.weight"] == (1, 8, 1, 1)
    assert shapes["extra_trans_convs.0.conv.weight"] == (8, 8, 2, 2)
    assert shapes["extra_fpn_convs.0.conv.bias"] == (8,)
    assert len(shapes) == 6 + 6 + 6 + 2 + 2


def test_impossible_numbers_of_maps():
    with pytest.raises(ConfigError, match="3 maps and 1 finer ones cannot give 3"):
        EfficientViTFPN(CHANNELS, 8, 3, num_extra_trans_convs=1)
    with pytest.raises(ConfigError, match="EfficientViTFPN was built for 3 feature maps, got 2"):
        EfficientViTFPN(CHANNELS, 8, 4, num_extra_trans_convs=1)(maps()[:2])
