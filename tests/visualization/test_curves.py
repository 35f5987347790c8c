"""Training curves from scalars.json, and the CSV table."""

from __future__ import annotations

import csv
import json
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.visualization import Visualizer

from foveal.errors import DataError
from foveal.registry import VISBACKENDS
from foveal.visualization.curves import _panels, _read, _smooth, plot_curves


@pytest.fixture
def scalars(tmp_path):
    """Three epochs of 40 iterations as mmengine writes them, cut in the middle of a line."""
    lines = []
    for step in range(1, 121):
        epoch = (step - 1) // 40 + 1
        loss = 2 / step
        record = {"lr": 1e-3, "loss": loss, "loss_cls": loss / 2, "grad_norm": 1.0, "time": 0.1, "memory": 0}
        lines.append(record | {"epoch": epoch, "iter": step, "step": step})
        if step % 40 == 0:
            metrics = {"coco/bbox_mAP": 0.1 * epoch, "coco/bbox_mAP_s": -1.0, "PSNR_Y": 30.0 + epoch, "SSIM_Y": 0.9}
            lines.append(metrics | {"data_time": 0.1, "time": 0.2, "step": epoch})
    path = tmp_path / "scalars.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"loss": 0.')
    return path


def test_picture(scalars, tmp_path):
    out = plot_curves(scalars, tmp_path / "new" / "curves.png", "a run")
    picture = cv2.imread(str(out))
    assert picture.shape[0] > 400 and picture.shape[1] > 1200 and len(np.unique(picture)) > 50


def test_panels(scalars):
    series, unit = _read(scalars)
    assert unit == "epoch" and series["coco/bbox_mAP"].steps == [1, 2, 3]
    panels = {heading: (axis, sorted(curves)) for heading, axis, curves in _panels(series, unit)}
    assert panels == {
        "loss": ("iteration", ["loss", "loss_cls"]),
        "learning rate": ("iteration", ["lr"]),
        "gradient norm": ("iteration", ["grad_norm"]),
        "metrics": ("epoch", ["SSIM_Y", "coco/bbox_mAP"]),
        "PSNR_Y": ("epoch", ["PSNR_Y"]),
    }


def test_validation_counted_in_iterations(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"loss": 1.0, "lr": 0.1, "iter": 50, "step": 50}\n{"mIoU": 12.0, "step": 50}\n')
    assert _read(path)[1] == "iteration"


def test_smoothing_keeps_the_mean_of_a_line():
    np.testing.assert_allclose(_smooth([5.0] * 100), 5.0)
    assert len(_smooth(list(range(100)))) == 100


@pytest.mark.parametrize(("content", "said"), [("", "no loss"), ("{\n{}\n", "line 1"), (None, "No such file")])
def test_bad_file(tmp_path, content, said):
    path = tmp_path / "scalars.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=said):
        plot_curves(path, tmp_path / "c.png")


def test_no_window_system_is_looked_for(scalars, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # whoever imports it now gets an ImportError
    assert plot_curves(scalars, tmp_path / "c.png").stat().st_size > 1000


def test_csv(tmp_path):
    backend = VISBACKENDS.build({"type": "CSVVisBackend", "save_dir": str(tmp_path / "vis_data")})
    backend.add_scalars({"loss": torch.tensor(0.5), "lr": 1e-3, "step": 7, "note": "text"}, step=1)
    backend.add_scalar("mIoU", np.float32(0.25), step=2)
    backend.add_image("x", np.zeros((4, 4, 3), np.uint8))
    again = VISBACKENDS.build({"type": "CSVVisBackend", "save_dir": str(tmp_path / "vis_data")})
    again.add_scalar("loss", 1, step=3)
    with (tmp_path / "vis_data" / "scalars.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["step"], r["name"], float(r["value"])) for r in rows] == [
        ("7", "loss", 0.5),
        ("7", "lr", 0.001),
        ("2", "mIoU", 0.25),
        ("3", "loss", 1.0),
    ]


def test_csv_beside_json_in_mmengines_visualizer(tmp_path):
    backends = [{"type": "LocalVisBackend"}, {"type": "CSVVisBackend", "_scope_": "foveal"}]
    visualizer = Visualizer(vis_backends=backends, save_dir=str(tmp_path))
    visualizer.add_scalars({"loss": 1.5}, step=4)
    folder = tmp_path / "vis_data"
    assert "4,loss,1.5" in (folder / "scalars.csv").read_text() and (folder / "scalars.json").is_file()
