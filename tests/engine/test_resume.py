"""A run killed in the middle of an epoch goes on as if nothing had happened."""

import json
import signal

import pytest
import torch

from foveal.engine.checkpoint import load_checkpoint

BY_ITERATION = {
    "by_epoch=True, max_epochs=4, val_interval=2": "by_epoch=False, max_iters=20, val_interval=7",
    "milestones=[2], gamma=0.5": "milestones=[8], gamma=0.5, by_epoch=False",
    '"DefaultSampler", shuffle=True': '"InfiniteSampler", shuffle=True',
}
# changes to the toy config's text, options, and the iteration after which the process is killed
VARIANTS = {
    "epochs": ({}, {"train_dataloader.num_workers": 2}, 13),
    "persistent workers": ({}, {"train_dataloader.num_workers": 1, "train_dataloader.persistent_workers": True}, 9),
    "iterations": (BY_ITERATION, {}, 13),
    "accumulated gradients": ({}, {"optim_wrapper.accumulative_counts": 8}, 13),  # steps at 8, 16 and the end
}


def losses(work_dir):
    """Loss and learning rate by iteration, over all starts of a run; a later start overrides."""
    found = {}
    for file in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if "loss" in record:
                found[record.get("step", record.get("iter"))] = (record["loss"], record["lr"])
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_run_resumes_exactly(variant, foveal_command, toy_config, tmp_path):
    changes, options, kill_at = VARIANTS[variant]
    text = toy_config.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "whole.py"
    config.write_text(text)
    killing = tmp_path / "killing.py"
    killing.write_text(text + f"custom_hooks.append(dict(type='KillHook', at={kill_at}))\n")
    words = ["--cfg-options", *[f"{k}={v}" for k, v in options.items()]] if options else []

    foveal_command("train", config, "--work-dir", tmp_path / "whole", *words)
    foveal_command("train", killing, "--work-dir", tmp_path / "killed", *words, expect=-signal.SIGKILL)
    resumed_at = load_checkpoint((tmp_path / "killed" / "last_checkpoint").read_text())["meta"]["iter"]
    assert resumed_at == kill_at - 1  # in the middle: not at the end of an epoch, not at the start
    foveal_command("train", config, "--work-dir", tmp_path / "killed", "--resume", *words)

    whole, resumed = losses(tmp_path / "whole"), losses(tmp_path / "killed")
    assert sorted(whole) == sorted(resumed) == list(range(1, 21))
    for iteration, (loss, rate) in whole.items():
        assert resumed[iteration] == (pytest.approx(loss, abs=1e-6), pytest.approx(rate, rel=1e-9)), iteration
    one, two = (load_checkpoint((tmp_path / w / "last_checkpoint").read_text()) for w in ("whole", "killed"))
    for key in ("state_dict", "ema_state_dict"):
        for name, tensor in one[key].items():
            assert torch.equal(tensor, two[key][name]), (key, name)
    assert len(list((tmp_path / "killed").glob("iter_*.pth"))) == 2
    assert len(list((tmp_path / "killed").glob("best_*.pth"))) == 1
    assert not list((tmp_path / "killed").glob(".*tmp"))
