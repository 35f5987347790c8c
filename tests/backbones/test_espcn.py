"""ESPCN's layers as the paper lists them."""

import pytest
import torch

from foveal.errors import DataError
from foveal.registry import MODELS


@pytest.mark.parametrize(("in_channels", "size"), [(3, (7, 9)), (1, (32, 33))])
def test_layers(in_channels, size):
    net = MODELS.build({"type": "ESPCN", "in_channels": in_channels})
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if p.ndim == 4}
    assert shapes == {"conv1.weight": (64, in_channels, 5, 5), "conv2.weight": (32, 64, 3, 3)}
    x = torch.rand(2, in_channels, *size)
    (out,) = net(x)
    assert net.out_channels == (out.shape[1],)
    assert out.shape == (2, 32, *size)
    torch.testing.assert_close(out, torch.tanh(net.conv2(torch.tanh(net.conv1(x)))))


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 8, 8), (1, 4, 8, 8)])
def test_another_number_of_channels_is_named(shape):
    with pytest.raises(DataError, match=r"ESPCN takes images \[N, 3, H, W\], got shape"):
        MODELS.build({"type": "ESPCN"})(torch.rand(shape))
