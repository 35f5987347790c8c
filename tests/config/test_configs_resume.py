"""Every config that trains: a run that stops in the middle of an epoch and goes on ends where a whole one does."""

import shutil

import pytest
import torch

from foveal.engine.checkpoint import load_checkpoint
from tests.config.short_runs import ITERATIONS, STOP, prepared, run
from tests.config.test_configs import TRAINING

# one of each kind of loop, loss and averaging is quick to run; all others take minutes together
FAST = {
    "configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "configs/segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
    "configs/espcn/espcn_x2_coco128.py",
}


def differences(one, two, place=""):
    """Where two checkpoints are not the same, bit for bit, but for paths and times."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, two) else [place]
    if isinstance(one, dict):
        skipped = {"meta", "message_hub"} if not place else ()
        keys = [key for key in {**one, **two} if key not in skipped]
        return [x for key in keys for x in differences(one.get(key), two.get(key), f"{place}.{key}")]
    if isinstance(one, list | tuple):
        return [x for i, (a, b) in enumerate(zip(one, two, strict=True)) for x in differences(a, b, f"{place}[{i}]")]
    return [] if one == two else [place]


@pytest.fixture
def folder(tmp_path):
    """Emptied at once: the checkpoints of all configs together are hundreds of gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("path", [pytest.param(p, marks=[] if p in FAST else [pytest.mark.slow]) for p in TRAINING])
def test_a_resumed_run_ends_as_a_whole_one(path, folder):
    file = prepared(path, folder)
    assert run(file, "whole").iter == ITERATIONS
    assert run(file, "resumed", resume=str(folder / "whole" / f"iter_{STOP}.pth")).iter == ITERATIONS
    whole, resumed = (load_checkpoint(folder / name / f"iter_{ITERATIONS}.pth") for name in ("whole", "resumed"))
    before = load_checkpoint(folder / "whole" / f"iter_{STOP}.pth")
    assert differences(whole, before), "the last iteration changed nothing"
    assert {"state_dict", "optimizer"} <= set(whole)
    assert differences(whole, resumed) == []
