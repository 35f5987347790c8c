"""PixelShuffleHead lays channels out as the paper says."""

import pytest
import torch

from foveal.errors import ConfigError
from foveal.registry import MODELS


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_order(scale):
    """Channel c * s² + i * s + j becomes pixel (y * s + i, x * s + j) of channel c (eq. 4 of the paper)."""
    head = MODELS.build({"type": "PixelShuffleHead", "in_channels": 5, "scale": scale})
    feats = torch.randn(2, 5, 4, 6)
    image, channels = head((torch.zeros(1), feats)), head.conv(feats)
    assert image.shape == (2, 3, 4 * scale, 6 * scale)
    for c in range(3):
        for i in range(scale):
            for j in range(scale):
                assert torch.equal(image[:, c, i::scale, j::scale], channels[:, c * scale**2 + i * scale + j])


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"kernel_size": 2}])
def test_contradictions_are_named(wrong):
    with pytest.raises(ConfigError, match="scale >= 1 and an odd kernel_size"):
        MODELS.build({"type": "PixelShuffleHead", "in_channels": 5, **wrong})
