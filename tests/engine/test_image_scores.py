"""Scores of single images, and the table of CFSR's paper from its released files."""

import csv
import json

import pytest

from foveal.engine.image_scores_hook import table
from foveal.engine.launch import test as run_test

# what the released files reach: the paper's row for x4 (arXiv:2401.05633), the official code's own for x2
PUBLISHED = {2: (38.07, 0.9607), 4: (32.33, 0.8964)}


@pytest.mark.parametrize("scale", PUBLISHED)
def test_released_cfsr_gives_the_papers_row(shared, scale, tmp_path):
    metrics = run_test(
        f"configs/cfsr/cfsr_x{scale}_set5.py",
        shared / f"weights/CFSR_x{scale}.pth",
        work_dir=str(tmp_path),
        options={"test_dataloader.dataset.data_root": str(shared / "data/sr/Set5")},
    )
    psnr, ssim = PUBLISHED[scale]
    assert metrics["PSNR_Y"] == pytest.approx(psnr, abs=0.01)
    assert metrics["SSIM_Y"] == pytest.approx(ssim, abs=3e-4)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["mean"] == pytest.approx(metrics)
    assert [row["image"].rpartition("/")[2].partition("x")[0] for row in written["images"]] == [
        "baby", "bird", "butterfly", "head", "woman",
    ]  # fmt: skip
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [row["image"] for row in written["images"]] + ["mean"]
    mean = sum(float(row["PSNR_Y"]) for row in rows[:-1]) / 5
    assert mean == pytest.approx(psnr, abs=0.01) and float(rows[-1]["PSNR_Y"]) == pytest.approx(mean)


def test_table():
    rows = [{"image": "a/long_name.png", "PSNR": 30.25, "SSIM": 0.5}, {"image": "mean", "PSNR": 30.25, "SSIM": 0.5}]
    assert table(rows).splitlines() == [
        "image                PSNR        SSIM",
        "long_name.png     30.2500      0.5000",
        "mean              30.2500      0.5000",
    ]
