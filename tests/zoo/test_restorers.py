"""Restorers by name."""

import pytest
import torch

from foveal.engine.checkpoint import save_checkpoint
from foveal.errors import CheckpointError, ConfigError
from foveal.zoo.restorers import create_restorer, list_restorers

SMALL = {"espcn": {}, "cfsr": {"embed_dim": 8, "depths": (1,)}}
CHANNELS = {"espcn": 1, "cfsr": 3}


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("wrapper", [None, "params", "params_ema"])
def test_official_files_and_ours_are_loaded(family, wrapper, tmp_path):
    model = create_restorer(f"{family}_x2", **SMALL[family]).eval()
    official = model.generator.state_dict()
    assert not any(key.startswith("generator.") for key in official)
    torch.save({wrapper: official} if wrapper else official, tmp_path / "official.pth")
    save_checkpoint({"state_dict": model.state_dict()}, tmp_path / "ours.pth")
    x = torch.rand(1, CHANNELS[family], 8, 8)
    for name in ("official.pth", "ours.pth"):
        loaded = create_restorer(f"{family}_x2", tmp_path / name, **SMALL[family]).eval()
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize(("theirs", "ours"), [(2, 3), (4, 2)])
def test_a_checkpoint_of_another_scale_is_named(family, theirs, ours, tmp_path):
    model = create_restorer(f"{family}_x{theirs}", **SMALL[family])
    torch.save(model.generator.state_dict(), tmp_path / "a.pth")
    said = f"a.pth does not fit Restorer: it is for scale {theirs}, the model for scale {ours}; "
    with pytest.raises(CheckpointError, match=said):
        create_restorer(f"{family}_x{ours}", tmp_path / "a.pth", **SMALL[family])


def test_arguments_go_to_the_network_or_to_the_restorer():
    model = create_restorer("cfsr_x2", embed_dim=16, deploy=False, pixel_loss={"type": "MSELoss"})
    assert model.generator.conv_first.out_channels == 16 and not model.generator.deploy
    assert type(model.pixel_loss).__name__ == "MSELoss"


def test_names():
    assert list_restorers("espcn*") == ["espcn_x2", "espcn_x3", "espcn_x4", "espcn_x8"]
    assert list_restorers("cfsr*") == ["cfsr_x2", "cfsr_x3", "cfsr_x4"]
    with pytest.raises(ConfigError, match="no restorer is called 'espcn_x5'; nearest names: espcn_x"):
        create_restorer("espcn_x5")
    with pytest.raises(ConfigError, match=r"has no argument 'pixel_los' \(did you mean 'pixel_loss'\?\)"):
        create_restorer("espcn_x2", pixel_los={"type": "MSELoss"})
