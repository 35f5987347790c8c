"""Training and testing from the command line: what goes wrong is one sentence and exit code 2."""

import json
import re
from itertools import pairwise

import pytest
import torch

from foveal.cli import _parser, _sentence, main
from foveal.engine.checkpoint import load_checkpoint, save_checkpoint
from foveal.engine.runner import find_last_checkpoint
from foveal.errors import CheckpointError, ConfigError, DataError


def error_of(done):
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    return lines[-1] if len(lines) == 1 else done.stderr


def test_train_test_and_what_goes_wrong(foveal_command, toy_config, tmp_path):
    """One training, then everything that reads its checkpoint."""
    work = tmp_path / "run"
    foveal_command("train", toy_config, "--work-dir", work, "--cfg-options", "train_cfg.max_epochs=2")
    last = find_last_checkpoint(work)
    content = torch.load(last)  # weights only
    assert content["meta"]["dataset_meta"]["classes"] == ("a", "b")
    assert (content["meta"]["epoch"], content["meta"]["iter"]) == (1, 10)  # after an iteration of the second epoch
    scalars = [json.loads(line) for line in next(work.glob("*/vis_data/scalars.json")).read_text().splitlines()]
    assert sum("loss" in s for s in scalars) == 10
    assert next(work.glob("*/vis_data/scalars.csv")).read_text().count("\n") > 10

    done = foveal_command("test", toy_config, last, "--work-dir", tmp_path / "test")
    printed = dict(line.split(": ") for line in done.stdout.splitlines() if line.startswith(("score", "count")))
    assert float(printed["count"]) == 14

    # --resume after the end does nothing and says so
    again = foveal_command(
        "train", toy_config, "--work-dir", work, "--resume", "--cfg-options", "train_cfg.max_epochs=2"
    )
    assert "resumed from" in again.stdout

    content["meta"]["dataset_meta"]["classes"] = ("a", "c")
    save_checkpoint(content, tmp_path / "classes.pth")
    done = foveal_command("test", toy_config, tmp_path / "classes.pth", "--work-dir", tmp_path / "t", expect=2)
    assert "trained on 2 classes (a, c), the data has 2 (a, b)" in error_of(done)

    content["state_dict"]["net.0.weight"] = torch.zeros(8, 5)
    save_checkpoint(content, tmp_path / "shape.pth")
    done = foveal_command("test", toy_config, tmp_path / "shape.pth", "--work-dir", tmp_path / "t", expect=2)
    assert "net.0.weight is [8, 5] in the file, [8, 4] in the model" in error_of(done)


def test_nan_stops_the_run_and_keeps_the_last_checkpoint(foveal_command, toy_config, tmp_path):
    options = ["--cfg-options", "model.poison_at=8"]
    done = foveal_command("train", toy_config, "--work-dir", tmp_path / "run", *options, expect=2)
    assert "iteration 8: loss = nan" in error_of(done)
    assert ".png" in error_of(done) and "iter_6.pth" in error_of(done)
    content = load_checkpoint(find_last_checkpoint(tmp_path / "run"))
    assert content["meta"]["iter"] == 6
    assert all(t.isfinite().all() for t in content["state_dict"].values() if t.is_floating_point())


def test_nan_is_skipped_on_request(foveal_command, toy_config, tmp_path):
    config = tmp_path / "skipping.py"
    text = toy_config.read_text() + 'default_hooks["loss_check"] = dict(type="CheckInvalidLossHook", action="skip")\n'
    config.write_text(text.replace('type="ToyModel"', 'type="ToyModel", poison_at=7'))
    done = foveal_command("train", config, "--work-dir", tmp_path / "run")
    assert "iteration 7 skipped, its loss is not finite; so far 1" in done.stdout + done.stderr
    content = load_checkpoint((tmp_path / "run" / "last_checkpoint").read_text())
    assert content["meta"]["iter"] == 20
    assert all(t.isfinite().all() for t in content["state_dict"].values() if t.is_floating_point())

    config.write_text(
        text.replace('type="ToyModel"', 'type="ToyModel", poison_from=7').replace("action=", "max_skips=3, action=")
    )
    done = foveal_command("train", config, "--work-dir", tmp_path / "hopeless", expect=2)
    assert "iteration 10" in done.stderr and "loss = nan" in done.stderr


def test_a_nan_among_accumulated_gradients_takes_only_its_own_step(foveal_command, toy_config, tmp_path):
    """Steps are after iterations 3, 6, 9 …; the eighth has no number, so the ninth makes a step alone."""
    config = tmp_path / "skipping.py"
    text = toy_config.read_text() + 'default_hooks["loss_check"] = dict(type="CheckInvalidLossHook", action="skip")\n'
    text = text.replace('dict(type="EMAHook")', "")  # which would change the weights between steps
    config.write_text(text.replace('type="ToyModel"', 'type="ToyModel", poison_at=8'))
    words = ["optim_wrapper.accumulative_counts=3", "default_hooks.checkpoint.interval=1"]
    words += ["default_hooks.checkpoint.max_keep_ckpts=-1"]
    foveal_command("train", config, "--work-dir", tmp_path / "run", "--cfg-options", *words)
    files = [load_checkpoint(tmp_path / "run" / f"iter_{number}.pth") for number in range(1, 21)]
    weights = [file["state_dict"]["net.0.weight"] for file in files]
    steps = [i + 2 for i, (one, two) in enumerate(pairwise(weights)) if not torch.equal(one, two)]
    assert steps == [3, 6, 9, 12, 15, 18, 20]
    waiting = [i + 1 for i, file in enumerate(files) if "gradients" in file]
    assert waiting == [1, 2, 4, 5, 7, 10, 11, 13, 14, 16, 17, 19]


def test_last_checkpoint_survives_a_moved_folder(tmp_path):
    assert find_last_checkpoint(tmp_path) is None
    save_checkpoint({}, tmp_path / "epoch_1.pth")
    (tmp_path / "last_checkpoint").write_text("/elsewhere/epoch_1.pth")
    assert find_last_checkpoint(tmp_path) == tmp_path / "epoch_1.pth"
    (tmp_path / "last_checkpoint").write_text("/elsewhere/epoch_2.pth")
    with pytest.raises(CheckpointError, match="names /elsewhere/epoch_2"):
        find_last_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "no_such.py"], "config no_such.py does not exist"),
        (["train", "CONFIG", "--cfg-options", "optm_wrapper.lr=1"], "did you mean optim_wrapper?"),
        (["train", "CONFIG", "--cfg-options", "model.type=ToyModell"], "nearest names: ToyModel"),
        (["train", "CONFIG", "--cfg-options", "sync_bn=mmcv"], "sync_bn must be 'torch'"),
        (["train", "CONFIG", "--resume", "gone.pth"], "checkpoint gone.pth does not exist"),
        (["train", "CONFIG", "--launcher", "pytorch"], "needs torchrun"),
        (["test", "CONFIG", "gone.pth", "--out", "x.txt"], "--out x.txt: expected a .json file"),
    ],
)
def test_bad_usage(words, message, toy_config, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(toy_config.parent))
    words = [str(toy_config) if w == "CONFIG" else w for w in words]
    with pytest.raises(SystemExit) as end:
        main([*words, "--work-dir", str(tmp_path)])
    assert end.value.code == 2
    errors = capsys.readouterr().err.strip()
    assert message in errors and "\n" not in errors


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["optim_wrapper.optimizer=dict(_delete_=True,type='Adam')"], "optimizer: SGD then, Adam now"),
        (["train_dataloader.dataset.indices=7"], "training data: ToyDataset of 14 samples then, .* of 7 samples now"),
        (["model=dict(_delete_=True,type='ToyOracle')"], "does not fit"),
    ],
)
def test_another_run_is_not_resumed(changes, wanted, foveal_command, toy_config, tmp_path):
    foveal_command("train", toy_config, "--work-dir", tmp_path)
    words = ["--resume", "--cfg-options", "train_cfg.max_epochs=6", *changes]
    done = foveal_command("train", toy_config, "--work-dir", tmp_path, *words, expect=2)
    assert re.search(wanted, done.stderr)


def test_with_smaller_batches_it_goes_on_at_the_same_share_of_the_epoch(foveal_command, toy_config, tmp_path):
    stop = ["--cfg-options", "custom_hooks=[dict(type='KillHook',at=14)]", "default_hooks.checkpoint.interval=1"]
    foveal_command("train", toy_config, "--work-dir", tmp_path, *stop, expect=-9)
    # 14 of 20 iterations in batches of 3: 4 of the third epoch's 5. In batches of 2 that is 6 of 7.
    words = ["--resume", "--cfg-options", "train_dataloader.batch_size=2", "custom_hooks=[]"]
    done = foveal_command("train", toy_config, "--work-dir", tmp_path, *words)
    assert "5 batches an epoch on 1 processes became 7 on 1: the run goes on at the same share" in done.stdout
    assert re.findall(r"Epoch\(train\) \[(\d+)\]\[ *(\d+)/7\]", done.stdout)[0] == ("3", "7")


def test_debug_raises(tmp_path):
    with pytest.raises(ConfigError, match=r"no_such\.py"):
        main(["train", "no_such.py", "--debug", "--work-dir", str(tmp_path)])


def test_an_error_in_a_worker_is_one_sentence():
    text = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nfoveal.errors.DataError: image a.jpg does not decode\n'
    )
    assert _sentence(DataError(text)) == "image a.jpg does not decode"


def test_values_of_options_are_literals():
    words = ["train", "c.py", "--cfg-options", "a.b=[dict(type='SGD', lr=0.1), 2]", "c=x,y", "d={'e': (1,)}", "f=text"]
    options = _parser().parse_args(words).cfg_options
    assert options == {"a.b": [{"type": "SGD", "lr": 0.1}, 2], "c": ["x", "y"], "d": {"e": (1,)}, "f": "text"}
