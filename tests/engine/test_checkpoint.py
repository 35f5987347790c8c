"""Checkpoints: whole or not there, plain values only, and a list of what does not fit."""

import argparse
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from foveal.engine import checkpoint as ckpt
from foveal.errors import CheckpointError


class RunsCode:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, legacy):
    victim = tmp_path / "made_by_the_pickle"
    content = {"state_dict": {"w": torch.ones(2)}, "extra": RunsCode(victim)}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"evil\.pth was refused.*mkdir"):
        ckpt.load_checkpoint(tmp_path / "evil.pth")
    assert not victim.exists()


def test_getattr_in_a_pickle_does_nothing(tmp_path):
    class Reaches:
        def __reduce__(self):
            return getattr, (argparse.Namespace, "__init__")

    torch.save({"w": torch.ones(2), "extra": Reaches()}, tmp_path / "file.pth")
    assert ckpt.load_checkpoint(tmp_path / "file.pth")["extra"] is None


def test_files_of_other_projects_are_read(tmp_path):
    from mmengine.logging import HistoryBuffer

    content = {
        "model": {"module.w": torch.ones(2)},
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
        "array": np.arange(3),
        "message_hub": {"loss": HistoryBuffer([1.0], [1])},
    }
    torch.save(content, tmp_path / "official.pth")
    read = ckpt.load_checkpoint(tmp_path / "official.pth")
    assert list(ckpt.extract_state_dict(read)) == ["w"]
    assert read["array"].tolist() == [0, 1, 2]


def test_settings_of_yacs_are_read(tmp_path, monkeypatch):
    class CfgNode(dict):
        """yacs's class: a dict with attributes."""

        __module__, __qualname__ = "yacs.config", "CfgNode"

    monkeypatch.setitem(sys.modules, "yacs", ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", ModuleType("yacs.config"))
    sys.modules["yacs.config"].CfgNode = CfgNode
    settings = CfgNode(MODEL=CfgNode(NAME="m1"), STEPS=[1, 2])
    settings.__dict__["__immutable__"] = True
    torch.save({"model": {"w": torch.ones(2)}, "config": settings}, tmp_path / "official.pth")
    monkeypatch.undo()
    read = ckpt.load_checkpoint(tmp_path / "official.pth")
    assert read["config"] == {"MODEL": {"NAME": "m1"}, "STEPS": [1, 2]}


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.arange(3.0)}, tmp_path / "file.safetensors", {"source": "here"})
    read = ckpt.load_checkpoint(tmp_path / "file.safetensors")
    assert read["state_dict"]["w"].tolist() == [0, 1, 2]
    assert read["meta"] == {"source": "here"}
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        ckpt.load_checkpoint(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04 and then nothing", "cannot be read"),
        (pickle.dumps([1, 2]), "cannot be read|expected a dict"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, words):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        ckpt.load_checkpoint(path)


def test_the_pointer_of_a_run_is_followed(tmp_path):
    ckpt.save_checkpoint({"state_dict": {"w": torch.ones(2)}}, tmp_path / "iter_2.pth")
    (tmp_path / "last_checkpoint").write_text("/moved/away/iter_2.pth")
    assert ckpt.load_checkpoint(tmp_path / "last_checkpoint")["state_dict"]["w"].tolist() == [1, 1]
    (tmp_path / "iter_2.pth").unlink()
    with pytest.raises(CheckpointError, match="which does not exist"):
        ckpt.load_checkpoint(tmp_path / "last_checkpoint")


def test_missing_file_names_its_neighbours(tmp_path):
    torch.save({}, tmp_path / "epoch_1.pth")
    with pytest.raises(CheckpointError, match=r"epoch_2\.pth does not exist; .*epoch_1\.pth"):
        ckpt.load_checkpoint(tmp_path / "epoch_2.pth")


def test_truncated_file(tmp_path):
    path = tmp_path / "file.pth"
    torch.save({"w": torch.randn(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        ckpt.load_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "expected"), [("state_dict", [1.0]), ("model", [1.0]), ("params", [1.0]), (None, [1.0])]
)
def test_wrappers(key, expected):
    inner = {"module.w": torch.ones(1)}
    assert ckpt.extract_state_dict({key: inner} if key else inner)["w"].tolist() == expected


def test_averaged_weights_are_taken_on_request():
    content = {"model": {"w": torch.zeros(1)}, "model_ema": {"w": torch.ones(1)}}
    assert ckpt.extract_state_dict(content)["w"].item() == 0
    assert ckpt.extract_state_dict(content, prefer_ema=True)["w"].item() == 1
    with pytest.raises(CheckpointError, match="no tensors; its keys are epoch"):
        ckpt.extract_state_dict({"epoch": 3})


def test_every_difference_is_listed():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = model.state_dict()
    state["0.weight"] = torch.zeros(3, 5)
    state["9.bias"] = state.pop("1.bias")
    with pytest.raises(CheckpointError) as error:
        ckpt.load_state_dict(model, state, "file.pth")
    for line in (
        "2 of the model's 4 tensors match, 1 missing, 1 unexpected, 1 of wrong shape",
        "wrong shape: 0.weight is [3, 5] in the file, [3, 2] in the model",
        "missing in the file: 1.bias [1]",
        "unexpected in the file: 9.bias [1]",
    ):
        assert line in str(error.value)
    assert len(ckpt.load_state_dict(model, state, "file.pth", strict=False)) == 3
    with pytest.raises(CheckpointError):
        ckpt.load_state_dict(model, {"other": torch.ones(1)}, strict=False)


def test_a_checkpoint_of_ours_is_plain(tmp_path):
    content = {"meta": {"epoch": np.int64(3), "classes": ("a", "b")}, "array": np.ones(2), "flag": True, "none": None}
    ckpt.save_checkpoint(content, tmp_path / "ours.pth")
    read = torch.load(tmp_path / "ours.pth")  # torch's default: weights only, nothing admitted
    assert read["meta"] == {"epoch": 3, "classes": ("a", "b")}
    assert read["array"].tolist() == [1, 1]
    with pytest.raises(TypeError, match=r"got .*Path at \.meta\.place"):
        ckpt.save_checkpoint({"meta": {"place": Path("x")}}, tmp_path / "no.pth")
    assert not (tmp_path / "no.pth").exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.pth"
    ckpt.save_checkpoint({"value": 1}, path)

    def fails(content, file):
        file.write(b"half a check")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="No space left"):
        ckpt.save_checkpoint({"value": 2}, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pth"]
    monkeypatch.undo()
    assert ckpt.load_checkpoint(path) == {"value": 1}


def test_mmengine_loads_through_us(tmp_path):
    from mmengine.runner import CheckpointLoader

    from foveal.engine import mmengine_loading

    mmengine_loading.install()
    torch.save({"state_dict": {"w": torch.ones(1)}, "extra": RunsCode(tmp_path / "victim")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="refused"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "evil.pth"))
    with pytest.raises(CheckpointError, match="not served any more"):
        CheckpointLoader.load_checkpoint("open-mmlab://resnet50")
