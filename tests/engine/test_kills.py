"""A run that is killed again and again, whatever it is doing, ends where one ends that nobody disturbs."""

import random
import signal
import time

import pytest
import torch

from foveal.engine.checkpoint import load_checkpoint

KILLS = 20


def pointed(folder):
    pointer = folder / "last_checkpoint"
    return pointer.read_text() if pointer.is_file() else ""


def wait_for_a_checkpoint(process, folder):
    """Return when a run has written one."""
    before = pointed(folder)
    while process.is_alive() and pointed(folder) == before:
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "epochs", "gathered"), [(0, 400, 1), (2, 150, 1), (0, 400, 3)])
def test_twenty_kills_change_nothing(workers, epochs, gathered, foveal_process, toy_config, tmp_path):
    # a checkpoint every second iteration: many of the kills meet one that is being written
    words = ["train", toy_config, "--resume", "--cfg-options", f"train_cfg.max_epochs={epochs}"]
    words += [f"train_dataloader.num_workers={workers}", f"optim_wrapper.accumulative_counts={gathered}", "--work-dir"]
    whole, disturbed = tmp_path / "whole", tmp_path / "killed"
    process, _, _ = foveal_process(*words, whole)
    wait_for_a_checkpoint(process, whole)
    start = time.monotonic()
    process.join(300)
    longest = (time.monotonic() - start) / 12  # twenty of half of it, in the mean, do not finish a run
    moments = random.Random(workers)
    killed, reached = 0, set()
    while True:
        process, out, err = foveal_process(*words, disturbed)
        if killed % 4 and killed < KILLS:  # else at any moment, of its start, too
            wait_for_a_checkpoint(process, disturbed)
        process.join(moments.uniform(0, longest) if killed < KILLS else 300)
        if not process.is_alive():
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        reached.add(pointed(disturbed))
    assert process.exitcode == 0, f"{out.read_text()}\n{err.read_text()}"
    assert killed == KILLS and len(reached) >= KILLS / 2
    one, two = (load_checkpoint(pointed(folder)) for folder in (whole, disturbed))
    assert one["meta"]["iter"] == two["meta"]["iter"] == 5 * epochs
    for part in ("state_dict", "ema_state_dict"):
        for key, value in one[part].items():
            assert torch.equal(value, two[part][key]), (part, key)
    # what an interrupted write leaves is cleared away, or at least not taken for a checkpoint
    assert all(load_checkpoint(path) for path in disturbed.glob("*.pth"))
