"""Tiles that fade into each other, the eight turns, and what a restorer's test_cfg says."""

import pytest
import torch
from torch import nn

from foveal.errors import ConfigError
from foveal.models.tiling import restore_in_tiles, self_ensemble
from foveal.registry import MODELS

LOCAL = {"type": "CFSR", "scale": 2, "embed_dim": 8, "depths": (1,), "dw_size": 3}  # sees 5 pixels far


@pytest.fixture(scope="module")
def local():
    torch.manual_seed(0)
    network = MODELS.build(LOCAL).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize(("size", "tile", "overlap"), [((61, 57), 36, 20), ((24, 24), 24, 0), ((61, 20), 32, 24)])
def test_a_local_network_gives_the_whole_image(local, size, tile, overlap):
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        whole, tiled = local(x), restore_in_tiles(local, x, 2, tile, overlap)
    # with an overlap of four times what the network sees, even at the seams
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-3 * float(whole.std()))


def test_away_from_seams_even_without_overlap(local):
    x = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        whole, tiled = local(x), restore_in_tiles(local, x, 2, 24, 0)
    near = torch.zeros(96, dtype=torch.bool)
    near[48 - 12 : 48 + 12] = True
    away = ~(near[:, None] | near)
    torch.testing.assert_close(tiled[..., away], whole[..., away], rtol=0, atol=1e-4)
    assert (tiled - whole).abs().max() > 1e-2


def test_the_network_never_sees_more_than_a_tile():
    sizes = []

    def network(x):
        sizes.append(tuple(x.shape[-2:]))
        return x.repeat_interleave(3, 2).repeat_interleave(3, 3)

    x = torch.rand(1, 3, 50, 31)
    torch.testing.assert_close(restore_in_tiles(network, x, 3, 16, 4), network(x))
    assert set(sizes[:-1]) == {(16, 16)} and len(sizes) - 1 == 4 * 3


def test_the_ensemble_does_not_care_how_the_image_lies(local):
    x = torch.rand(1, 3, 13, 20)
    with torch.no_grad():
        y = self_ensemble(local, x)
        torch.testing.assert_close(self_ensemble(local, x.flip(3)), y.flip(3))
        torch.testing.assert_close(self_ensemble(local, x.transpose(2, 3)), y.transpose(2, 3))
        assert (local(x) - y).abs().max() > 1e-3


def test_a_restorer_does_what_its_test_cfg_says(local):
    x = torch.rand(1, 3, 40, 50)
    options = {"tile": 36, "tile_overlap": 20, "self_ensemble": True}
    model = MODELS.build({"type": "Restorer", "generator": local, "test_cfg": options}).eval()
    with torch.no_grad():
        (sample,) = model(x, mode="predict")
        torch.testing.assert_close(sample.pred_img, self_ensemble(local, x)[0].clamp(0, 1), rtol=0, atol=1e-3)
    for wrong, said in (({"tiles": 8}, "has no key 'tiles'"), ({"tile": 8}, "tiles of 8 cannot overlap by 32")):
        with pytest.raises(ConfigError, match=said):
            MODELS.build({"type": "Restorer", "generator": LOCAL, "test_cfg": wrong})
