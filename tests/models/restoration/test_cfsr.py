"""CFSR: sizes, merging, training, and what a misfit says."""

import pytest
import torch

from foveal.errors import CheckpointError, DataError
from foveal.registry import MODELS
from foveal.zoo import create_restorer

SMALL = {"embed_dim": 8, "depths": (1, 1)}


def network(scale=2, **more):
    return MODELS.build({"type": "CFSR", "scale": scale, **SMALL, **more})


@pytest.mark.parametrize(("scale", "count"), [(2, 291_324), (3, 297_819), (4, 306_912)])
def test_parameters(scale, count):
    with torch.device("meta"):
        model = create_restorer(f"cfsr_x{scale}")
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("size", [(1, 1), (5, 12), (33, 7)])
@pytest.mark.parametrize(("scale", "in_channels"), [(2, 3), (3, 1), (4, 4)])
def test_any_size_and_number_of_channels(size, scale, in_channels):
    y = network(scale, in_channels=in_channels)(torch.rand(2, in_channels, *size))
    assert y.shape == (2, in_channels, size[0] * scale, size[1] * scale)


def test_merging_keeps_the_image_and_gives_the_released_names():
    model, x = network(deploy=False).eval(), torch.rand(1, 3, 12, 9)
    for parameter in model.parameters():  # as after some training: the branches matter
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    before = model(x).detach()
    plain = {k: v for k, v in model.state_dict().items() if ".pos." in k}
    model.switch_to_deploy()
    model.switch_to_deploy()
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    merged = model.state_dict()
    assert merged.keys() == network().state_dict().keys()
    assert all((merged[k] - v).abs().max() > 0.1 for k, v in plain.items())


def test_the_masks_alone_do_not_learn():
    model = network(deploy=False)
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {name for name, _ in model.named_parameters() if ".mask_" in name} and len(without) == 6


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 4, 8, 8), (3, 8, 8)])
def test_another_number_of_channels_is_named(shape):
    with pytest.raises(DataError, match=r"^CFSR takes images \[N, 3, H, W\], got shape \[[\d, ]+\]$"):
        network()(torch.rand(shape))


@pytest.mark.parametrize("trained", [False, True])
def test_the_other_form_is_named(trained, tmp_path):
    path = tmp_path / "official.pth"
    torch.save({"params": network(deploy=not trained).state_dict()}, path)
    form = "training form: build the network with deploy=False" if trained else "merged form: leave deploy True"
    with pytest.raises(CheckpointError, match=f"official.pth does not fit Restorer: it holds CFSR's {form}"):
        create_restorer("cfsr_x2", path, **SMALL, deploy=trained)
