"""When the strong augmentation of a training ends, and what the hooks refuse."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import DataLoader

from foveal.data import CocoDataset, MultiImageMixDataset
from foveal.engine.exp_momentum_ema import ExpMomentumEMA
from foveal.engine.late_augmentation_hooks import PipelineSwitchHook, YOLOXModeSwitchHook
from foveal.errors import ConfigError

LOAD = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_bbox": True}]
SMALL = {"type": "Resize", "scale": (64, 64), "keep_ratio": True}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bbox_head = nn.Identity()
        self.bbox_head.use_l1 = False


def images(pipeline: list[dict[str, Any]]) -> CocoDataset:
    return CocoDataset(
        ann_file="demo/annotations/instances.json", data_prefix={"img": "demo/images"}, pipeline=pipeline, indices=4
    )


def run_of(dataset: Any, workers: int = 0) -> SimpleNamespace:
    loader = DataLoader(dataset, 1, collate_fn=pseudo_collate, num_workers=workers, persistent_workers=workers > 0)
    return SimpleNamespace(
        train_dataloader=loader, model=Model(), epoch=0, max_epochs=4, logger=logging.getLogger("test")
    )


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(request.config.rootpath)


def test_yolox_leaves_out_mosaic_and_adds_l1() -> None:
    mosaic = {"type": "Mosaic", "img_scale": (64, 64)}
    run = run_of(MultiImageMixDataset(images([*LOAD, SMALL]), [mosaic, {"type": "PackInputs"}]))
    hook = YOLOXModeSwitchHook(num_last_epochs=2)
    for run.epoch, switched in ((0, False), (1, True), (2, True)):
        hook.before_train_epoch(run)
        assert run.model.bbox_head.use_l1 is switched
        sizes = {max(batch["inputs"][0].shape[1:]) for batch in run.train_dataloader}
        assert sizes == ({64} if switched else {128})


def test_yolox_needs_its_data_and_its_head() -> None:
    run = run_of(images(LOAD))
    with pytest.raises(ConfigError, match="must be a MultiImageMixDataset, got CocoDataset"):
        YOLOXModeSwitchHook(num_last_epochs=4).before_train_epoch(run)
    run = run_of(MultiImageMixDataset(images(LOAD), [{"type": "PackInputs"}]))
    run.model.bbox_head = nn.Identity()
    with pytest.raises(ConfigError, match="must be a YOLOXHead, got Identity"):
        YOLOXModeSwitchHook(num_last_epochs=4).before_train_epoch(run)


@pytest.mark.parametrize("workers", [0, 1])
def test_another_pipeline_reaches_workers_that_persist(workers: int) -> None:
    run = run_of(images([*LOAD, SMALL, {"type": "PackInputs"}]), workers)
    large = {**SMALL, "scale": (96, 96)}
    hook = PipelineSwitchHook(switch_epoch=1, switch_pipeline=[*LOAD, large, {"type": "PackInputs"}])
    for run.epoch, side in ((0, 64), (1, 96), (2, 96)):
        hook.before_train_epoch(run)
        assert {max(batch["inputs"][0].shape[1:]) for batch in run.train_dataloader} == {side}


def test_a_wrapper_has_no_pipeline_to_switch() -> None:
    run = run_of(MultiImageMixDataset(images(LOAD), [{"type": "PackInputs"}]))
    with pytest.raises(ConfigError, match="must not be a MultiImageMixDataset"):
        PipelineSwitchHook(switch_epoch=0, switch_pipeline=LOAD).before_train_epoch(run)


def test_the_moving_average_slows_down() -> None:
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(0.0)
    average = ExpMomentumEMA(net, momentum=0.1, gamma=5)
    expected = 0.0
    for step in range(4):
        net.weight.data.fill_(step + 1.0)
        average.update_parameters(net)
        share = 1.0 if step == 0 else 0.9 * torch.tensor(-(1 + step) / 5).exp().item() + 0.1
        expected += share * (step + 1.0 - expected)
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ConfigError, match="gamma must be above 0, got 0"):
        ExpMomentumEMA(net, gamma=0)
