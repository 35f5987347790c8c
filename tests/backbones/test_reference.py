"""Every reference fixture, through the functions and from the file format that a user has."""

import json
from pathlib import Path

import pytest
import torch

from foveal.backbones.catalog import CATALOG
from foveal.registry import MODELS
from foveal.zoo import create_backbone, create_classifier

FIXTURES = Path(__file__).resolve().parent.parent / "reference" / "backbones"
SPECS = {path.stem: path for path in sorted(FIXTURES.glob("*.json"))}
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-3}

# arguments that a fixture's network was built with, where they differ from create_*'s defaults
OPTIONS: dict[str, dict] = {
    "convnext_tiny_dense_kmax": {"output_norm": False, "pad_downsampling": True},
    "dinat_mini_dense_odd": {"task": "classification"},
    "dinat_mini_dense_seg": {"task": "segmentation"},
    "transnext_micro_dense_extrapolation": {"is_extrapolation": True},
    "unireplknet_a_deploy": {"deploy": True},
}


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)  # built in it, so that float64 weights are not rounded
    yield request.param
    torch.set_default_dtype(before)


def canonical(fixture):
    """The longest name in the catalogue that the fixture's name begins with."""
    MODELS.import_from_location()
    return max((name for name in CATALOG if f"{fixture}_".startswith(f"{name}_")), key=len)


@pytest.mark.parametrize("fixture", SPECS)
def test_computes_what_the_official_code_computes(fixture, dtype, recipe, tmp_path):
    spec = json.loads(SPECS[fixture].read_text())
    name, file = canonical(fixture), tmp_path / "official.pth"
    torch.save(recipe.checkpoint(spec, dtype), file)
    x = recipe.tensor_input(spec["inputs"]["x"], dtype)
    options = OPTIONS.get(fixture, {})
    with torch.no_grad():
        if spec["kind"] == "dense":
            model = create_backbone(name, file, **options).eval()
            outputs = {f"out{i}": y for i, y in enumerate(model(x))}
        else:
            stages = tuple(int(name[5:]) for name in spec["outputs"] if name.startswith("stage"))
            model = create_classifier(
                canonical(fixture), tmp_path / "official.pth", out_indices=stages, **options
            ).eval()
            outputs = {f"stage{i}": y for i, y in zip(stages, model.backbone(x), strict=True)}
            outputs["logits"] = model(x)
    assert sum(p.numel() for p in model.parameters()) == spec["params"]
    report = recipe.compare(outputs, spec)
    pinned = {name for name in spec["outputs"] if name.startswith(("out", "stage", "logits"))}
    assert pinned
    assert {name: error for name, error in report.items() if name in pinned and error > TOLERANCE[dtype]} == {}
