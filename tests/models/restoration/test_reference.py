"""Every reference fixture of a restorer, from the file format that a user has."""

import json
from pathlib import Path

import pytest
import torch

from foveal.zoo import create_restorer

FIXTURES = Path(__file__).resolve().parent.parent.parent / "reference" / "restorers"
SPECS = {path.stem: path for path in sorted(FIXTURES.glob("*.json"))}
# float32 says little more than float64 does, and a large network takes seconds
LARGE = 5_000_000
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-3}
# arguments that a fixture's network was built with, where they differ from create_restorer's defaults
OPTIONS = {"cfsr_x2_train": {"deploy": False}, "medfe": {"keep_known": False}}
SLOW = ("medfe",)


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)  # built in it, so that float64 weights are not rounded
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize("fixture", [pytest.param(s, marks=pytest.mark.slow) if s in SLOW else s for s in SPECS])
def test_computes_what_the_official_code_computes(fixture, dtype, recipe, tmp_path):
    spec = json.loads(SPECS[fixture].read_text())
    if dtype == torch.float32 and spec["params"] > LARGE:
        pytest.skip("float64 alone")
    file = tmp_path / "official.pth"
    torch.save(recipe.checkpoint(spec, dtype), file)
    model = create_restorer(fixture.removesuffix("_train"), file, **OPTIONS.get(fixture, {})).eval()
    assert sum(p.numel() for p in model.parameters()) == spec["params"]
    x = recipe.tensor_input(spec["inputs"]["x"], dtype)
    with torch.no_grad():
        report = recipe.compare({"sr": model(x)}, spec)
        assert report.keys() == {"sr"} and report["sr"] <= TOLERANCE[dtype]
        if "reparameterized" in spec:
            merged = spec["reparameterized"]
            model.switch_to_deploy()
            assert recipe.compare({"sr": model(x)}, merged)["sr"] <= TOLERANCE[dtype]
            weights = model.generator.state_dict()
            for key, pin in merged["weights"].items():
                count = len(pin["samples"])
                got = weights[key].flatten()[recipe.sample_indices(key, weights[key].numel(), count)]
                want = torch.tensor(pin["samples"], dtype=dtype)
                torch.testing.assert_close(got, want, rtol=0, atol=TOLERANCE[dtype] * pin["std"])
