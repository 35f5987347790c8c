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

from foveal.engine import processes
from foveal.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent
# images of one size: padding, which is up to the images that are together in a batch, is background to learn from
CONFIG = """
_base_ = ["{root}/configs/demo/detector.py"]
custom_imports = dict(imports=["distributed_hook"])
resize = dict(type="Resize", scale=(128, 128), keep_ratio=False)
steps = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True), resize]
ann_file = "{root}/demo/annotations/instances_detector.json"
prefix = dict(img="{root}/demo/images")
sync_bn = "torch"
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
        if runner.iter == 2 and runner.rank == 1 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
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


def run(folder, name, *words, processes=0, restarts=0, task=("train", "config.py")):
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port())]
    launcher += ["--max-restarts", str(restarts)]
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
    for count in (0, 2):
        done = run(folder, f"t{count}", *oracle, processes=count, task=("test", "config.py", "oracle.pth"))
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


def test_torchrun_starts_it_again_and_it_goes_on(folder):
    words = ["--cfg-options", "train_dataloader.batch_size=2", "default_hooks.checkpoint.interval=1"]
    whole = run(folder, "whole", *words, processes=2)
    assert whole.returncode == 0, whole.stderr[-2000:]
    config = folder / "config.py"
    config.write_text(config.read_text().replace('[dict(type="MeanLossHook")]', '[dict(type="DieHook")]'))
    again = run(folder, "again", "--resume", *words, processes=2, restarts=1)
    assert again.returncode == 0, again.stderr[-2000:]
    # the checkpoint of the third iteration may or may not have been written when the process died
    assert re.search(r"resumed from .*iter_[23]\.pth", again.stdout)
    one, two = (torch.load(folder / n / "iter_5.pth", weights_only=True)["state_dict"] for n in ("whole", "again"))
    assert all(torch.equal(value, two[key]) for key, value in one.items())


SHARDED = 'model_wrapper_cfg=dict(type="FSDP2",blocks=("BasicBlock",))'


def test_weights_that_are_shared_train_as_whole_ones(folder):
    words = ["--cfg-options", "train_dataloader.batch_size=2", "default_hooks.checkpoint.interval=3"]
    # steps after iterations 2, 4 and 5: after the third, a gradient waits
    words += ["default_hooks.checkpoint.max_keep_ckpts=3", "optim_wrapper.accumulative_counts=2"]
    runs = {
        "ddp": run(folder, "ddp", *words, processes=2),
        "fsdp": run(folder, "fsdp", *words, SHARDED, processes=2),
    }
    assert all(done.returncode == 0 for done in runs.values()), [done.stderr[-2000:] for done in runs.values()]
    losses = {name: json.loads((folder / name / "losses.json").read_text()) for name in runs}
    assert losses["fsdp"] == pytest.approx(losses["ddp"], rel=1e-5)
    files = {name: torch.load(folder / name / "iter_5.pth", weights_only=True) for name in runs}
    one, two = files["ddp"], files["fsdp"]
    assert one["state_dict"].keys() == two["state_dict"].keys()
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][key], value, rtol=1e-4, atol=1e-6)
    # either goes on from the other's checkpoint, the optimiser's state and gradients that wait for its step included
    waiting = [torch.load(folder / n / "iter_3.pth", weights_only=True)["gradients"] for n in ("ddp", "fsdp")]
    assert waiting[0].keys() == waiting[1].keys()
    for key, value in waiting[0].items():
        assert (waiting[1][key] - value).abs().max() <= 1e-3 * value.abs().max() + 1e-7, key
    assert one["optimizer"]["state"].keys() == two["optimizer"]["state"].keys()
    for number, entry in one["optimizer"]["state"].items():
        momentum = two["optimizer"]["state"][number]["momentum_buffer"]
        largest = entry["momentum_buffer"].abs().max()
        assert (momentum - entry["momentum_buffer"]).abs().max() <= 1e-2 * largest  # a wrong one would be of its size
    done = run(folder, "again", "--resume", str(folder / "ddp" / "iter_3.pth"), *words, SHARDED, processes=2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "gradient of some iterations is lost" not in done.stdout
    again = torch.load(folder / "again" / "iter_5.pth", weights_only=True)["state_dict"]
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(again[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ['model_wrapper_cfg=dict(type="FSDP2",blocks=("Block",))'],
            "the model has no Block; it has BasicBlock",
        ),
        (['model_wrapper_cfg=dict(type="FSDP2")'], "has blocks, classes of modules"),
        ([SHARDED, 'custom_hooks=[dict(type="EMAHook")]'], "EMAHook cannot average parts of them"),
    ],
)
def test_what_cannot_be_shared_is_named(options, message, folder):
    done = run(folder, "wrong", "--cfg-options", "train_dataloader.batch_size=2", *options, processes=2)
    assert done.returncode != 0 and message in done.stderr


def slurm(folder, rank, port, **environment):
    """A task as srun starts it, whose scontrol says where the first node is."""
    (folder / "bin").mkdir(exist_ok=True)
    scontrol = folder / "bin" / "scontrol"
    scontrol.write_text('#!/bin/sh\ntest "$*" = "show hostname node[1-2]" && printf "127.0.0.1\\nnode2\\n"\n')
    scontrol.chmod(0o755)
    command = [sys.executable, "-m", "foveal.cli", "train", "config.py", "--work-dir", "slurm", "--launcher", "slurm"]
    command += ["--cfg-options", "train_dataloader.batch_size=2", "train_cfg.max_iters=2"]
    found = {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_LOCALID": "0", "SLURM_NODELIST": "node[1-2]"}
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **path, **found, "MASTER_PORT": str(port), **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def test_srun_starts_two_tasks(folder):
    port = free_port()
    tasks = [slurm(folder, rank, port) for rank in (0, 1)]
    outputs = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    assert len(json.loads((folder / "slurm" / "losses.json").read_text())) == 2
    assert json.loads(next((folder / "slurm").glob("*/run.json")).read_text())["world_size"] == 2


def test_a_port_that_is_taken_is_named(folder):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        task = slurm(folder, 0, port)
        _, errors = task.communicate(timeout=120)
    assert task.returncode == 2
    assert errors.strip().splitlines()[-1] == (
        f"foveal: 127.0.0.1:{port} is taken by another program: set MASTER_PORT to a free port"
    )


def test_more_processes_than_samples(folder):
    few = ["--cfg-options", "train_dataloader.dataset.indices=1", "train_dataloader.batch_size=1"]
    done = run(folder, "few", *few, processes=2)
    assert done.returncode != 0
    assert "foveal: 2 processes cannot share 1 training samples: start fewer" in done.stderr


def alike(rank, port, versions, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.distributed.init_process_group("gloo")
    try:
        processes.check_alike(versions[rank])
    except ConfigError as error:
        (folder / f"{rank}").write_text(str(error))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_processes_with_other_software_are_refused(tmp_path):
    torch.multiprocessing.spawn(alike, (free_port(), ["torch 2", "torch 2"], tmp_path), 2)
    assert list(tmp_path.iterdir()) == []
    torch.multiprocessing.spawn(alike, (free_port(), ["torch 2", "torch 3"], tmp_path), 2)
    wanted = "the processes have different software: torch 2 on rank 0; torch 3 on rank 1"
    assert [(tmp_path / name).read_text() for name in "01"] == [wanted, wanted]


@pytest.mark.parametrize(
    ("launcher", "environment", "message"),
    [
        ("slurm", {}, "--launcher slurm needs srun, which sets SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID"),
        ("mpi", {"OMPI_COMM_WORLD_RANK": "0"}, "needs mpirun, which sets OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_LOCAL"),
        (
            "slurm",
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0", "SLURM_NODELIST": "n1", "PATH": ""},
            "finds no scontrol to tell the first node of 'n1': set MASTER_ADDR",
        ),
        ("pytorch", {}, "needs torchrun"),
    ],
)
def test_the_wrong_launcher_is_named(launcher, environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        processes.join_group(launcher)


def test_the_script_for_one_machine(folder):
    command = [str(ROOT / "tools/dist_train.sh"), "config.py", "2", "--work-dir", "script"]
    command += ["--cfg-options", "train_dataloader.batch_size=2", "train_cfg.max_iters=2"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"}
    pipes = {"capture_output": True, "text": True, "check": False, "timeout": 300}
    done = subprocess.run(command, cwd=folder, env=environment, **pipes)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(json.loads((folder / "script" / "losses.json").read_text())) == 2
