"""Prediction from Python, through the test pipeline of a config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import foveal
from foveal.config import load_config

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "demo/images/000000000030.jpg"


def paired(config):
    """The demo's test set as pairs of files, as a benchmark's are."""
    loads = [{"type": "LoadImageFromFile", "key": key} for key in ("img", "gt_img")]
    config.test_dataloader.dataset.pipeline = [*loads, {"type": "ModCrop", "scale": 2}, {"type": "PackInputs"}]
    return config


@pytest.mark.parametrize("change", [lambda config: config, paired], ids=["made on the fly", "pairs"])
def test_a_restorer_needs_no_sharp_image(monkeypatch, change):
    monkeypatch.chdir(ROOT)
    model = foveal.init_model(change(load_config("configs/demo/super_resolver.py")), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (37, 50, 3), dtype=np.uint8)
    of_array, of_file = foveal.predict(model, [image, PHOTO])
    assert of_array.pred_img.shape == (3, 74, 100)
    assert of_file.pred_img.shape[1:] == tuple(2 * side for side in of_file.img_shape)
    assert of_file.img_path == str(PHOTO)


@pytest.mark.parametrize(("name", "field"), [("detector", "pred_instances"), ("segmentor", "pred_sem_seg")])
def test_a_batch_of_files_and_arrays(monkeypatch, name, field):
    monkeypatch.chdir(ROOT)
    model = foveal.init_model(f"configs/demo/{name}.py", device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    samples = foveal.predict(model, [image, PHOTO, image], batch_size=2)
    assert [field in sample for sample in samples] == [True] * 3
    assert samples[0].ori_shape == (120, 90)
