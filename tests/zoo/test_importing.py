"""Official files as safetensors of ours."""

import pytest
import torch
from safetensors import safe_open

from foveal.cli import main
from foveal.errors import ConfigError
from foveal.zoo import create_backbone, create_classifier, create_restorer, import_checkpoint


def test_classifier_with_its_provenance(tmp_path, capsys):
    official = create_classifier("shvit_s1", num_classes=7)
    trunk = {
        key.removeprefix("backbone."): v for key, v in official.state_dict().items() if key.startswith("backbone.")
    }
    head = {
        key.removeprefix("head.tail."): v for key, v in official.state_dict().items() if key.startswith("head.tail.")
    }
    torch.save({"model": trunk | head}, tmp_path / "shvit_s1.pth")
    out = tmp_path / "ours.safetensors"
    main(["zoo", "import", "shvit_s1", str(tmp_path / "shvit_s1.pth"), str(out), "--arguments", "num_classes=7"])
    ours = create_classifier("shvit_s1", out, num_classes=7)
    for key, value in official.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    with safe_open(out, "pt") as file:
        facts = file.metadata()
    assert facts["foveal_name"] == "shvit_s1" and facts["foveal_kind"] == "classifier"
    assert facts["licence"] == "MIT" and facts["zoo_name"] == "shvit_s1" and len(facts["source_sha256"]) == 64


def test_a_trunk_is_a_backbone_and_a_restorer_a_restorer(tmp_path):
    backbone = create_backbone("convnext_atto")
    torch.save(
        {"model": {k: v for k, v in backbone.state_dict().items() if not k.startswith("norm")}}, tmp_path / "a.pth"
    )
    import_checkpoint("convnext_atto", tmp_path / "a.pth", tmp_path / "a.safetensors")
    again = create_backbone("convnext_atto", tmp_path / "a.safetensors")
    assert all(
        torch.equal(v, backbone.state_dict()[k]) for k, v in again.state_dict().items() if not k.startswith("norm")
    )
    espcn = create_restorer("espcn_x2")
    torch.save({k.removeprefix("generator."): v for k, v in espcn.state_dict().items()}, tmp_path / "e.pt")
    import_checkpoint("espcn_x2", tmp_path / "e.pt", tmp_path / "e.safetensors")
    x = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(create_restorer("espcn_x2", tmp_path / "e.safetensors").eval()(x), espcn.eval()(x))


def test_mistakes(tmp_path):
    with pytest.raises(ConfigError, match=r"must be called \.safetensors, got .*a\.pth"):
        import_checkpoint("shvit_s1", "x.pth", tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="kind must be classifier or backbone, got 'neck'"):
        import_checkpoint("shvit_s1", "x.pth", tmp_path / "a.safetensors", "neck")
