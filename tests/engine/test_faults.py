"""What the system does to a run in its middle: one sentence, nothing lost that was saved, nothing that hangs."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from foveal.engine.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = Path(__file__).resolve().parent / "faults_config.py"


def sentence(done):
    """The last line of what a run complains, which must be all of it."""
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("SIGKILL", r"process \d+\) was killed, .* lower num_workers"), ("SIGBUS", r"/dev/shm, .* has \d+ MiB left")],
)
def test_a_worker_that_is_killed(name, wanted, foveal_command, tmp_path):
    pipeline = f'train_dataloader.dataset.pipeline=[dict(type="DyingWorker",signal="{name}"),dict(type="ToyNoise")]'
    words = ["--cfg-options", "train_dataloader.num_workers=2", pipeline]
    done = foveal_command("train", CONFIG, "--work-dir", tmp_path, *words, expect=2)
    assert re.search(wanted, sentence(done))


def test_a_batch_that_no_worker_can_send(foveal_command, tmp_path):
    pipeline = 'train_dataloader.dataset.pipeline=[dict(type="ToyNoise"),dict(type="Unsendable")]'
    words = ["--cfg-options", "train_dataloader.num_workers=1", pipeline]
    done = foveal_command("train", CONFIG, "--work-dir", tmp_path, *words, expect=2)
    first, last = done.stderr.strip().splitlines()
    assert "pickle" in first.lower() and "lambda" in first
    assert re.search(r"a data worker \(process \d+\) ended with exit code 70; num_workers=0 reads the data", last)


@pytest.fixture
def tiny_shared_memory():
    """Words before a command that give it 64 KiB of /dev/shm, in a mount namespace of its own."""
    words = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    return words


def test_a_small_shared_memory_ends_the_run_and_does_not_hang_it(tiny_shared_memory, tmp_path):
    command = [sys.executable, "-m", "foveal.cli", "train", "configs/demo/detector.py", "--work-dir", str(tmp_path)]
    command += ["--cfg-options", "train_dataloader.num_workers=2", "train_cfg.max_iters=3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"capture_output": True, "text": True, "timeout": 120, "check": False}
    done = subprocess.run([*tiny_shared_memory, *command], cwd=ROOT, env=environment, **pipes)
    assert done.returncode == 2
    assert "could not hand over a batch: /dev/shm, through which batches go, has 0 MiB left" in sentence(done)


def test_a_full_disk_leaves_the_last_checkpoint(foveal_command, tmp_path):
    full = 'custom_hooks=[dict(type="FaultHook",what="full",at=5)]'
    done = foveal_command("train", CONFIG, "--work-dir", tmp_path, "--cfg-options", full, expect=2)
    assert re.search(r"cannot write .*iter_6\.pth: File too large$", sentence(done))
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert left == ["faults_config.py", "iter_2.pth", "iter_4.pth", "last_checkpoint"]
    assert load_checkpoint(tmp_path / "last_checkpoint")["meta"]["iter"] == 4
    foveal_command("train", CONFIG, "--work-dir", tmp_path, "--resume", "--cfg-options", "custom_hooks=[]")
    whole = tmp_path / "whole"
    foveal_command("train", CONFIG, "--work-dir", whole, "--cfg-options", "custom_hooks=[]")
    one, two = (load_checkpoint(folder / "last_checkpoint") for folder in (tmp_path, whole))
    assert one["meta"]["iter"] == two["meta"]["iter"] == 20
    assert all(torch.equal(value, two["state_dict"][key]) for key, value in one["state_dict"].items())


def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(foveal_command, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("/proc/run", tmp_path / "file" / "run"):
        done = foveal_command("train", CONFIG, "--work-dir", folder, expect=2)
        assert re.search(rf"work_dir {folder} cannot be written: (No such file|Not a directory)", sentence(done))
        assert "Epoch(train)" not in done.stdout


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("left", [0, 3000])
def test_an_image_without_its_end_is_named(left, workers, foveal_command, tmp_path):
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    for path in sorted((tmp_path / "demo/images").glob("*.jpg")):
        path.write_bytes(path.read_bytes()[:left])
    dataset = f"train_dataloader.dataset.ann_file={tmp_path}/demo/annotations/instances_detector.json"
    prefix = f"train_dataloader.dataset.data_prefix.img={tmp_path}/demo/images"
    words = ["--cfg-options", dataset, prefix, f"train_dataloader.num_workers={workers}"]
    done = foveal_command("train", ROOT / "configs/demo/detector.py", "--work-dir", tmp_path / "run", *words, expect=2)
    assert re.search(rf"{tmp_path}/demo/images/\d+\.jpg", sentence(done))


def test_the_clock_may_jump(foveal_command, tmp_path):
    jump = 'custom_hooks=[dict(type="FaultHook",what="jump",at=3)]'
    foveal_command("train", CONFIG, "--work-dir", tmp_path, "--cfg-options", jump)
    (log,) = tmp_path.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    train = [line for line in lines if "data_time" in line and "loss" in line]
    assert len(train) == 20
    assert all(0 <= line[key] < 60 for line in train for key in ("time", "data_time"))
    text = next(tmp_path.glob("*/*.log")).read_text()
    assert "day" not in text and all(int(hours) == 0 for hours in re.findall(r"eta: (\d+):", text))
    record = json.loads(next(tmp_path.glob("*/run.json")).read_text())
    assert 0 < record["seconds"] < 300


@pytest.mark.parametrize("apart", [0.005, 0.05, 3])
def test_interrupted_twice(apart, foveal_process, tmp_path):
    words = ["--cfg-options", "train_cfg.max_epochs=100000", "train_dataloader.num_workers=2"]
    process, _, err = foveal_process("train", CONFIG, "--work-dir", tmp_path, *words)
    deadline = time.monotonic() + 120
    while not (tmp_path / "last_checkpoint").exists():
        assert process.is_alive() and time.monotonic() < deadline, err.read_text()
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(2):
            os.kill(process.pid, signal.SIGINT)
            time.sleep(apart)
    process.join(30)
    assert process.exitcode == 130, err.read_text()
    said = err.read_text().strip()
    assert said.startswith("foveal: interrupted; once more ends it at once")
    # no traceback of ours; multiprocessing's threads and the interpreter may say what nobody can catch
    assert ", in main" not in said
    assert load_checkpoint(tmp_path / "last_checkpoint")["meta"]["iter"] > 0
