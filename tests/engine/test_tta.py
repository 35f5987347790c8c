"""``--tta``: one plain view gives what the plain test gives; more views give something else; missing keys are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from foveal.config import load_config
from foveal.engine.checkpoint import save_checkpoint
from foveal.engine.launch import test as run_test
from foveal.errors import ConfigError
from foveal.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent.parent
TASKS: dict[str, dict[str, Any]] = {
    "detector": {
        "options": {"model.test_cfg.score_thr": 0.0, "model.test_cfg.max_per_img": 20},
        "tta_model": {
            "type": "DetTTAModel",
            "tta_cfg": {"nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 20},
        },
        "labels": {"type": "LoadAnnotations", "with_bbox": True},
    },
    "segmentor": {"options": {}, "tta_model": {"type": "SegTTAModel"}, "labels": {"type": "LoadAnnotations"}},
}


def views(labels: dict[str, Any], flips: tuple[float, ...]) -> list[dict[str, Any]]:
    steps = [
        [{"type": "Resize", "scale": (160, 160), "keep_ratio": True}],
        [{"type": "RandomFlip", "prob": p, "direction": "horizontal"} for p in flips],
        [labels],
        [{"type": "PackInputs"}],
    ]
    return [{"type": "LoadImageFromFile"}, {"type": "TestTimeAug", "transforms": steps}]


@pytest.mark.parametrize("task", TASKS)
def test_views(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    case = TASKS[task]
    path = ROOT / "configs" / "demo" / f"{task}.py"
    torch.manual_seed(0)
    model = MODELS.build(load_config(path).model)
    checkpoint = tmp_path / "weights.pth"
    save_checkpoint({"state_dict": model.state_dict()}, checkpoint)

    def predictions(name: str, **more: Any) -> str | dict[str, bytes]:
        out = tmp_path / (f"{name}.json" if task == "detector" else name)
        pipeline = more.pop("pipeline", None)
        written = tmp_path / f"{name}.py"
        lines = [f"_base_ = {str(path)!r}", f"tta_model = {case['tta_model']!r}"]
        written.write_text("\n".join(lines + ([f"tta_pipeline = {pipeline!r}"] if pipeline else [])) + "\n")
        options = {
            **case["options"],
            "test_dataloader.dataset.indices": 1,
            "test_dataloader.dataset.pipeline.1.scale": (160, 160),
        }
        run_test(written, checkpoint, str(tmp_path / "run"), str(out), options=options, **more)
        return out.read_text() if out.is_file() else {p.name: p.read_bytes() for p in sorted(out.iterdir())}

    plain = predictions("plain")
    assert predictions("one", pipeline=views(case["labels"], (0.0,)), tta=True) == plain
    assert predictions("two", pipeline=views(case["labels"], (0.0, 1.0)), tta=True) != plain
    with pytest.raises(ConfigError, match="--tta needs the key 'tta_pipeline'"):
        predictions("none", tta=True)
