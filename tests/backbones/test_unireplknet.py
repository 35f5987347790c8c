"""What is special to UniRepLKNet: the fused form."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.backbones import UniRepLKNet
from foveal.models.classifier import ImageClassifier
from foveal.zoo import create_backbone, create_classifier
from foveal.zoo.create import classifier_nodes, find_variant

FIXTURES = Path(__file__).resolve().parent.parent / "reference" / "backbones"
SMALL = {"depths": (1, 1, 2, 1), "dims": (8, 12, 16, 20), "kernel_sizes": ((3,), (7,), (13, 3), (9,))}

# the fused form's, which are those of the official README
PUBLISHED = {
    "a": (4_437_300, "4.4M"),
    "f": (6_235_216, "6.2M"),
    "p": (10_741_704, "10.7M"),
    "n": (18_318_560, "18.3M"),
    "t": (31_037_980, "31M"),
    "s": (55_645_984, "56M"),
    "b": (98_008_456, "98M"),
    "l": (218_454_616, "218M"),
    "xl": (386_529_064, "386M"),
}


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def trained(**kwargs):
    """A small network none of whose numbers are those it starts from."""
    model = UniRepLKNet(SMALL, **kwargs)
    for value in model.parameters():
        nn.init.uniform_(value, 0.2, 1.0) if value.ndim == 1 else nn.init.normal_(value, std=0.3)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@pytest.mark.parametrize("arch", PUBLISHED)
def test_the_fused_form_has_the_published_parameters(arch):
    nodes = classifier_nodes(find_variant(f"unireplknet_{arch}"), {"deploy": True})
    with torch.device("meta"):
        model = ImageClassifier(**nodes)
    count = sum(p.numel() for p in model.parameters())
    exact, printed = PUBLISHED[arch]
    assert count == exact
    # the README prints 31.04M as 31M, and 386.53M, with its fraction cut off, as 386M
    places = len(printed.partition(".")[2].rstrip("M"))
    assert abs(count / 1e6 - float(printed.rstrip("M"))) < 10**-places


def test_fuses_to_what_the_official_code_fuses_to(recipe, tmp_path, float64):
    spec = json.loads((FIXTURES / "unireplknet_a_deploy.json").read_text())
    pinned = spec["reparameterized"]
    source = json.loads((FIXTURES / f"{pinned['from']}.json").read_text())
    torch.save(recipe.checkpoint(source, torch.float64), tmp_path / "trained.pth")
    model = create_classifier("unireplknet_a", tmp_path / "trained.pth", out_indices=(0, 1, 2, 3)).eval()
    model.switch_to_deploy()

    places = {key.removeprefix("backbone.").removeprefix("head.tail."): key for key in model.state_dict()}
    assert places.keys() == spec["keys"].keys() == pinned["weights"].keys()
    for key, stored in pinned["weights"].items():
        value = model.state_dict()[places[key]].numpy()
        got = recipe.pin(key, value)
        assert got["shape"] == stored["shape"]
        for what in ("mean", "std", "absmax"):
            assert got[what] == pytest.approx(stored[what], rel=1e-9, abs=1e-12), (key, what)
        assert got["samples"][: len(stored["samples"])] == pytest.approx(stored["samples"], rel=1e-9, abs=1e-12), key

    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    with torch.no_grad():
        maps = model.backbone(x)
        outputs = {"logits": model.head(maps), **{f"stage{i}": y for i, y in enumerate(maps)}}
    report = recipe.compare(outputs, pinned)
    assert len(report) == 5 and max(report.values()) < 1e-6, report


def test_the_fused_network_computes_the_same():
    model = trained().eval()
    x = torch.randn(2, 3, 45, 64)
    with torch.no_grad():
        before = model(x)
        model.switch_to_deploy()
        for a, b in zip(model(x), before, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, _BatchNorm) for module in model.modules())
    with torch.device("meta"):
        fresh = UniRepLKNet(SMALL, deploy=True).state_dict()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in fresh.items()}


def test_no_layer_scale_fuses_too(float64):
    model = trained(layer_scale_init_value=0).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = model(x)[-1]
        model.switch_to_deploy()
        torch.testing.assert_close(model(x)[-1], before)


def test_fusing_twice_changes_nothing_and_keeps_the_mode():
    model = trained(frozen_stages=1, drop_path_rate=0.2).train()
    model.switch_to_deploy()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.switch_to_deploy()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model.training and model.stages[3][0].training and not model.stages[0][0].training
    assert model.stages[3][0].drop_path.drop_prob == pytest.approx(0.2)
    frozen = {key.split(".")[1] for key, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {"0"}


def test_a_fused_network_is_saved_and_read(tmp_path):
    model = create_classifier("unireplknet_a", arch=SMALL, num_classes=3).eval()
    model.switch_to_deploy()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "fused.pth")
    x = torch.randn(1, 3, 32, 40)
    again = create_classifier("unireplknet_a", tmp_path / "fused.pth", arch=SMALL, num_classes=3, deploy=True).eval()
    backbone = create_backbone("unireplknet_a", tmp_path / "fused.pth", arch=SMALL, deploy=True, output_norm=False)
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x))
        torch.testing.assert_close(backbone.eval()(x)[-1], model.backbone(x)[-1])


def test_each_form_refuses_the_others_file(tmp_path):
    torch.save(UniRepLKNet(SMALL).state_dict(), tmp_path / "trained.pth")
    torch.save(UniRepLKNet(SMALL, deploy=True).state_dict(), tmp_path / "fused.pth")
    with pytest.raises(ValueError, match=r"leave deploy out, load the file, then call switch_to_deploy\(\)"):
        create_backbone("unireplknet_a", tmp_path / "trained.pth", arch=SMALL, deploy=True)
    with pytest.raises(ValueError, match="build the network with deploy=True"):
        create_backbone("unireplknet_a", tmp_path / "fused.pth", arch=SMALL)


def test_other_families_have_nothing_to_fuse():
    model = create_classifier("convnext_atto", arch={"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8)}, num_classes=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.switch_to_deploy()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("kernel_sizes", "message"),
    [
        (((3,), (7,), (13,), (9,)), r"depths are \[1, 1, 2, 1\], got \[1, 1, 1, 1\]"),
        (((3,), (7,), (13, 8), (9,)), r"3, 5, 7, 9, 11, 13, 15, 17; got \[8\]"),
    ],
)
def test_kernel_sizes_that_do_not_fit_are_named(kernel_sizes, message):
    with pytest.raises(ValueError, match=message):
        UniRepLKNet({**SMALL, "kernel_sizes": kernel_sizes})
