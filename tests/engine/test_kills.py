"""A run that is killed again and again, whatever it is doing, ends where one ends that nobody disturbs."""

import random
import signal

import pytest
import torch

from foveal.engine.checkpoint import load_checkpoint

KILLS = 20


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "epochs"), [(0, 200), (2, 60)])
def test_twenty_kills_change_nothing(workers, epochs, foveal_command, foveal_process, toy_config, tmp_path):
    # a checkpoint every second iteration: many of the kills meet one that is being written
    options = ["--cfg-options", f"train_cfg.max_epochs={epochs}", f"train_dataloader.num_workers={workers}"]
    foveal_command("train", toy_config, "--work-dir", tmp_path / "whole", *options)
    moments = random.Random(workers)
    killed = 0
    while True:
        process, out, err = foveal_process("train", toy_config, "--work-dir", tmp_path / "killed", "--resume", *options)
        process.join(moments.uniform(0.05, 2.5) if killed < KILLS else 300)
        if not process.is_alive():
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        killed += 1
    assert process.exitcode == 0, f"{out.read_text()}\n{err.read_text()}"
    one, two = (load_checkpoint((tmp_path / name / "last_checkpoint").read_text()) for name in ("whole", "killed"))
    assert killed == KILLS
    assert one["meta"]["iter"] == two["meta"]["iter"] == 5 * epochs
    for key, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][key]), key
    for key, value in one["ema_state_dict"].items():
        assert torch.equal(value, two["ema_state_dict"][key]), key
    # what an interrupted write leaves is cleared away, or at least not taken for a checkpoint
    assert all(load_checkpoint(path) for path in (tmp_path / "killed").glob("*.pth"))
