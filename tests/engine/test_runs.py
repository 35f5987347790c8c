"""Every run leaves a record; runs are listed and compared by it."""

import signal

import cv2
import pytest

from foveal.cli import main
from foveal.engine.run_record_hook import git_state
from foveal.engine.runs import find_runs
from foveal.errors import DataError


def test_runs_are_recorded_listed_and_compared(foveal_command, toy_config, tmp_path, capsys):
    for rate in (0.01, 0.02):
        words = ["--cfg-options", f"optim_wrapper.optimizer.lr={rate}", "train_cfg.max_epochs=2"]
        foveal_command("train", toy_config, "--work-dir", tmp_path / f"lr{rate}", *words)
    killed = tmp_path / "killing.py"
    killed.write_text(toy_config.read_text() + "custom_hooks.append(dict(type='KillHook', at=3))\n")
    foveal_command("train", killed, "--work-dir", tmp_path / "killed", expect=-signal.SIGKILL)

    runs = {run.folder.parent.name: run.record for run in find_runs(tmp_path)}
    assert {name: record["status"] for name, record in runs.items()} == {
        "lr0.01": "finished",
        "lr0.02": "finished",
        "killed": "running",
    }
    record = runs["lr0.01"]
    assert record["config"]["optim_wrapper"]["optimizer"]["lr"] == 0.01
    assert record["command"][1] == "train"
    assert record["seed"] == 3 and record["world_size"] == 1
    assert record["data"]["train"] == record["data"]["val"] == {"samples": 14}
    assert record["iterations"] == 10
    assert record["best"]["count"] == record["metrics"]["count"] == 14
    assert record["environment"]["torch"]

    main(["runs", "list", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "running" in lines[2] and "score" in lines[0]
    picture = tmp_path / "curves.png"
    main(["runs", "compare", str(tmp_path / "lr0.01"), str(tmp_path / "lr0.02"), "--plot", str(picture)])
    out = capsys.readouterr().out
    (row,) = (line for line in out.splitlines() if line.startswith("optim_wrapper"))
    assert row.split() == ["optim_wrapper.optimizer.lr", "0.01", "0.02"]
    assert "train_cfg" not in out and "best score" in out
    assert cv2.imread(str(picture)).std() > 5


def test_no_run_and_a_damaged_record_are_one_sentence(tmp_path, capsys):
    with pytest.raises(DataError, match=r"no run \(run\.json\) in"):
        find_runs(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SystemExit) as exit_:
        main(["runs", "list", str(tmp_path)])
    assert exit_.value.code == 2
    assert "run.json is no record of a run" in capsys.readouterr().err


def test_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git_state() is None
    monkeypatch.setenv("PATH", "")
    assert git_state() is None
