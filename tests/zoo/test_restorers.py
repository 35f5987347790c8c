"""Restorers by name."""

import pytest
import torch

from foveal.engine.checkpoint import save_checkpoint
from foveal.errors import CheckpointError, ConfigError
from foveal.zoo.restorers import create_restorer, list_restorers


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_espcn(scale):
    model = create_restorer(f"espcn_x{scale}").eval()
    # (5 * 5 * 3 + 1) * 64 + (3 * 3 * 64 + 1) * 32 + (3 * 3 * 32 + 1) * 3 * s²
    assert sum(p.numel() for p in model.parameters()) == 4864 + 18464 + 867 * scale**2
    assert model(torch.rand(1, 3, 17, 23)).shape == (1, 3, 17 * scale, 23 * scale)


def test_a_checkpoint_is_loaded_and_another_scale_refused(tmp_path):
    model, path = create_restorer("espcn_x2").eval(), tmp_path / "espcn.pth"
    save_checkpoint({"state_dict": model.state_dict()}, path)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(create_restorer("espcn_x2", path).eval()(x), model(x))
    with pytest.raises(CheckpointError, match=r"head\.conv\.weight"):
        create_restorer("espcn_x3", path)


def test_names():
    assert list_restorers("espcn*") == ["espcn_x2", "espcn_x3", "espcn_x4"]
    with pytest.raises(ConfigError, match="no restorer is called 'espcn_x5'; nearest names: espcn_x"):
        create_restorer("espcn_x5")
    with pytest.raises(ConfigError, match="has no argument 'pixel_los'"):
        create_restorer("espcn_x2", pixel_los={"type": "MSELoss"})
