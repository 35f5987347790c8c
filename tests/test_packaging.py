"""The package works as a wheel, from an sdist, installed in place and not installed at all."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# run away from the checkout: every sub-package, a model by config, a config that travels with the package
PROBE = """
import sys, foveal, torch
from foveal.registry import MODELS
model = MODELS.build(dict(
    type="SingleStageDetector",
    backbone=dict(type="ResNet", depth=18),
    neck=dict(type="FPN", out_channels=16, num_outs=5, start_level=1, add_extra_convs="on_input"),
    bbox_head=dict(type="RetinaHead", num_classes=3, feat_channels=16),
    data_preprocessor=dict(type="DetDataPreprocessor"),
    test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=5),
)).eval()
assert len(model(torch.zeros(1, 3, 64, 64))[0]) == 5
from foveal.config.load import find_config
print(foveal.__file__, find_config("demo/detector.py"))
import foveal.tools.train
from foveal.zoo import find_weights
assert find_weights("convnext_tiny")[0].url.startswith("https://")
assert "foveal.tests" not in sys.modules
"""


def probe(cwd, path):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist of the checkout, and a wheel built from that sdist."""
    pytest.importorskip("build", reason="needs the package build, which the dev extra installs")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_wheel_from_sdist_runs_outside_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    file, config = probe(tmp_path, site)
    assert Path(file).is_relative_to(site) and Path(config).is_relative_to(site)


def test_wheel_holds_what_it_should(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "foveal/py.typed" in names and "foveal/configs/demo/detector.py" in names
    folders = {"/".join(n.split("/")[:2]) for n in names}
    for folder in ("backbones", "necks", "heads", "ops", "configs", "tools", "data", "engine"):
        assert f"foveal/{folder}" in folders
    index = {f"foveal/zoo/index/{p.name}" for p in (ROOT / "foveal" / "zoo" / "index").glob("*.yaml")}
    assert index and index <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "foveal/tests", "demo/", "foveal/setup"))]
    sources = {f"foveal/{p.relative_to(ROOT / 'foveal')}" for p in (ROOT / "foveal").rglob("*.py")} | {
        str(Path("foveal") / p.relative_to(ROOT))
        for f in ("backbones", "necks", "heads", "ops", "configs", "tools")
        for p in (ROOT / f).rglob("*.py")
    }
    assert sources <= set(names), sorted(sources - set(names))


def test_not_installed(tmp_path):
    file, config = probe(tmp_path, ROOT)
    assert Path(file) == ROOT / "foveal" / "__init__.py"
    assert Path(config) == ROOT / "configs" / "demo" / "detector.py"
