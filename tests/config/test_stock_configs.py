"""Configs in the words of mmdet 3.x and mmseg 1.x train and validate as they are; only data and sizes are given anew.

Each is put together here from the parts that their ``_base_`` folders have, with their keys, and written to a file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from foveal.config import load_config
from foveal.engine.launch import train
from foveal.errors import ConfigError
from tests.config.stock import Node
from tests.config.stock_mmdet import atss, fcos, rcnn, retinanet, rtmdet, yolox
from tests.config.stock_mmseg import deeplabv3plus, fcn, pspnet, segformer, sem_fpn, upernet

ROOT = Path(__file__).resolve().parent.parent.parent

SMALL = {"model.backbone.depth": 18}
NO_WEIGHTS = {"model.backbone.init_cfg": None}
NARROW = [64, 128, 256, 512]
SMALL_DET = {**SMALL, **NO_WEIGHTS, "model.neck.in_channels": NARROW}
LAST = {**SMALL, "model.decode_head.in_channels": 512, "model.auxiliary_head.in_channels": 256}

# config and what --cfg-options gives for a small network without released weights
CONFIGS: dict[str, tuple[Node, Node]] = {
    "retinanet": (retinanet(), SMALL_DET),
    "fcos": (fcos(), SMALL_DET),
    "atss": (atss(), SMALL_DET),
    "faster-rcnn": (rcnn(), SMALL_DET),
    "mask-rcnn": (rcnn(masks=True), SMALL_DET),
    "cascade-mask-rcnn": (rcnn(masks=True, cascade=True), SMALL_DET),
    "yolox": (yolox(), {}),
    "rtmdet": (rtmdet(), NO_WEIGHTS),
    "fcn": (fcn(), LAST),
    "pspnet": (pspnet(), LAST),
    "deeplabv3plus": (deeplabv3plus(), {**LAST, "model.decode_head.c1_in_channels": 64}),
    "upernet": (upernet(), {**LAST, "model.decode_head.in_channels": NARROW}),
    "fpn": (sem_fpn(), {**SMALL, "model.neck.in_channels": NARROW}),
    "segformer": (segformer(), NO_WEIGHTS),
}
SLOW = {"atss", "mask-rcnn", "cascade-mask-rcnn", "pspnet", "deeplabv3plus", "upernet"}


def write(folder: Path, config: Node) -> Path:
    path = folder / "stock.py"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    return path


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CONFIGS])
def test_a_stock_config_trains_and_validates(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config, options = CONFIGS[name]
    detects = config["default_scope"] == "mmdet"
    images = "train_dataloader.dataset" + (".dataset" if name == "yolox" else "")
    options = {
        **options,
        "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 1}
        if detects
        else {"_delete_": True, "type": "IterBasedTrainLoop", "max_iters": 1},
        "param_scheduler": None,
        # two images: one iteration
        f"{images}.indices": [0, 2] if detects else 2,
        **{f"{phase}_dataloader.num_workers": 0 for phase in ("train", "val")},
        **{f"{phase}_dataloader.persistent_workers": False for phase in ("train", "val")},
        "val_dataloader.dataset.indices": 2,
    }
    if name == "yolox":
        # the last epoch is the first one here; that mosaic and mixup run is what is to be seen
        options["custom_hooks.0.num_last_epochs"] = -1
    runner = train(write(tmp_path, config), str(tmp_path / "run"), options=options)
    assert runner.iter == 1
    scalars = runner.message_hub.log_scalars
    assert "train/loss" in scalars
    metrics = {key.removeprefix("val/") for key in scalars if key.startswith("val/")}
    assert ("coco/bbox_mAP" if detects else "mIoU") in metrics
    if name in ("yolox", "rtmdet"):
        averages = [hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")]
        assert type(averages[0]).__name__ == "ExpMomentumEMA"
    if name == "rtmdet":
        kinds = [type(step).__name__ for step in runner.train_dataloader.dataset.pipeline.transforms]
        assert "CachedMosaic" not in kinds


@pytest.mark.parametrize("name", [name for name in CONFIGS if name in SLOW])
def test_a_stock_config_is_read(name: str, tmp_path: Path) -> None:
    assert load_config(write(tmp_path, CONFIGS[name][0])).default_scope == "foveal"


def test_a_remote_file_backend_is_refused(tmp_path: Path) -> None:
    config = retinanet()
    config["train_dataloader"]["dataset"]["backend_args"] = {"backend": "petrel"}
    with pytest.raises(ConfigError, match=r"train_dataloader.dataset.*CocoDataset has no argument 'backend_args'"):
        load_config(write(tmp_path, config))


def test_packages_of_the_family_are_not_imported(tmp_path: Path) -> None:
    config = retinanet() | {"custom_imports": {"imports": ["mmpretrain.models"], "allow_failed_imports": False}}
    assert load_config(write(tmp_path, config)).custom_imports.imports == []
    config["custom_imports"]["imports"] = ["no_such_package_of_mine"]
    with pytest.raises(ConfigError, match="no_such_package_of_mine"):
        load_config(write(tmp_path, config))
