"""Two processes train as one with twice the batch: the same losses, the same weights, the same scores."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
# images of one size: padding, which is up to the images that are together in a batch, is background to learn from
CONFIG = """
_base_ = ["{root}/configs/demo/detector.py"]
custom_imports = dict(imports=["distributed_hook"])
resize = dict(type="Resize", scale=(128, 128), keep_ratio=False)
steps = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True), resize]
ann_file = "{root}/demo/annotations/instances_detector.json"
prefix = dict(img="{root}/demo/images")
model = dict(backbone=dict(norm_eval=True))
train_dataloader = dict(batch_size=4, dataset=dict(
    ann_file=ann_file, data_prefix=prefix, indices=20,
    pipeline=[*steps, dict(type="RandomFlip", prob=0.5), dict(type="PackInputs")]))
# 21 images: two processes cannot share them evenly
val_dataloader = dict(dataset=dict(
    ann_file=ann_file, data_prefix=prefix, pipeline=[*steps, dict(type="PackInputs")]))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=ann_file)
test_evaluator = val_evaluator
train_cfg = dict(max_iters=5, val_interval=5)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=0.02, momentum=0.9), clip_grad=None)
param_scheduler = [dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=5)]
randomness = dict(seed=0, deterministic=True)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=5))
custom_hooks = [dict(type="MeanLossHook")]
"""
HOOK = """
import json
import os
import signal
from pathlib import Path

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from foveal.registry import HOOKS, MODELS


@HOOKS.register_module(force=True)
class MeanLossHook(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs["loss"].detach().double()
        all_reduce(loss, op="mean")
        self.losses.append(float(loss))

    def after_train(self, runner):
        if is_main_process():
            Path(runner.work_dir, "losses.json").write_text(json.dumps(self.losses))


@HOOKS.register_module(force=True)
class DieHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1 and runner.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@MODELS.register_module(force=True)
class Oracle(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        for sample in data_samples:
            w, h = sample.scale_factor
            boxes = sample.gt_instances.bboxes / torch.tensor([w, h, w, h])
            boxes[::2] += 9
            scores = torch.linspace(0.9, 0.3, len(boxes))
            sample.pred_instances = InstanceData(bboxes=boxes, labels=sample.gt_instances.labels, scores=scores)
        return data_samples
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(folder, name, *words, processes=0, task=("train", "config.py")):
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port())]
    command = [sys.executable, *(launcher if processes else []), "-m", "foveal.cli", *task]
    command += ["--work-dir", name, *(("--launcher", "pytorch") if processes else ()), *words]
    paths = os.pathsep.join((str(ROOT), str(folder)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    options = {"capture_output": True, "text": True, "check": False, "timeout": 300}
    return subprocess.run(command, cwd=folder, env=environment, **options)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG.format(root=ROOT))
    (tmp_path / "distributed_hook.py").write_text(HOOK)
    return tmp_path


def test_two_processes_are_one_with_twice_the_batch(folder):
    alone = run(folder, "one")
    assert alone.returncode == 0, alone.stderr[-2000:]
    both = run(folder, "two", "--cfg-options", "train_dataloader.batch_size=2", processes=2)
    assert both.returncode == 0, both.stderr[-2000:]
    losses, losses2 = (json.loads((folder / name / "losses.json").read_text()) for name in ("one", "two"))
    assert len(losses) == 5
    assert losses2 == pytest.approx(losses, rel=1e-5)
    one, two = (torch.load(folder / n / "iter_5.pth", weights_only=True)["state_dict"] for n in ("one", "two"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-6)


def test_two_processes_score_each_image_once(folder):
    """21 images on two processes: one of them gets an image twice, which must not count twice."""
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, folder / "oracle.pth")
    oracle = ["--cfg-options", "model=dict(_delete_=True,type='Oracle')"]
    scores = []
    for processes in (0, 2):
        done = run(folder, f"t{processes}", *oracle, processes=processes, task=("test", "config.py", "oracle.pth"))
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [line for line in done.stdout.splitlines() if line.startswith("coco/bbox_mAP")]
        scores.append(dict(line.split(": ") for line in lines[:6]))
    assert 0.1 < float(scores[0]["coco/bbox_mAP"]) < 0.9
    assert scores[0] == scores[1]


def test_a_process_that_dies_ends_the_run_with_its_name(folder):
    config = folder / "config.py"
    config.write_text(config.read_text().replace('[dict(type="MeanLossHook")]', '[dict(type="DieHook")]'))
    start = time.monotonic()
    done = run(folder, "dying", "--cfg-options", "train_dataloader.batch_size=2", processes=2)
    assert done.returncode != 0
    assert time.monotonic() - start < 90
    assert re.search(r"rank +: 1 ", done.stderr) and "SIGKILL" in done.stderr
