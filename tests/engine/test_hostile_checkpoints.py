"""Checkpoints from anywhere: a sentence that names the file, or tensors; nothing else happens."""

import random
import time
import zipfile

import pytest
import torch
from safetensors.torch import save

from foveal.engine.checkpoint import extract_state_dict, load_checkpoint
from foveal.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings(
    "ignore:Detected pickle protocol", "ignore:TypedStorage", "ignore:Defining your"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    state = {"weight": torch.arange(60.0).view(6, 10), "bias": torch.ones(6, dtype=torch.float16)}
    torch.save({"state_dict": state, "meta": {"epoch": 3, "classes": ("a", "b")}}, folder / "new.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    (folder / "s.safetensors").write_bytes(save(state))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def survives(path, content):
    path.write_bytes(content)
    try:
        state = extract_state_dict(load_checkpoint(path))
        assert all(isinstance(key, str) for key in state)
    except CheckpointError as error:
        assert path.name in str(error) or "the checkpoint holds no tensors" in str(error)
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}\n{content[:400]!r}")


def disturbed(content, moments):
    kind = moments.randrange(4)
    at = moments.randrange(len(content))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes(moments.randrange(256) for _ in range(8)) + content[at + 8 :]
    if kind == 2:
        return content[:at] + content[at + moments.randint(1, 64) :]
    other = moments.randrange(len(content))
    return content[:at] + content[other : other + 200] + content[at:]


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "s.safetensors"])
def test_disturbed_files(name, files, tmp_path):
    moments = random.Random(0)
    survives(tmp_path / name, files[name])
    for _ in range(150):
        survives(tmp_path / name, disturbed(files[name], moments))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.pth", "old.pth", "s.safetensors"])
def test_disturbed_files_for_a_minute(name, files, tmp_path):
    moments, start = random.Random(1), time.monotonic()
    while time.monotonic() - start < 60:
        survives(tmp_path / name, disturbed(files[name], moments))


def test_a_header_that_claims_terabytes(files, tmp_path):
    for size in (2**63 - 1, 2**40, 10**8):
        survives(tmp_path / "s.safetensors", size.to_bytes(8, "little") + files["s.safetensors"][8:])
    header = b'{"w":{"dtype":"F32","shape":[1000000000,1000],"data_offsets":[0,4000000000000]}}'
    survives(tmp_path / "s.safetensors", len(header).to_bytes(8, "little") + header)


def test_a_small_file_that_unpacks_to_a_huge_one(files, tmp_path):
    (tmp_path / "new.pth").write_bytes(files["new.pth"])
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(tmp_path / "new.pth") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        new.writestr("archive/data/9", bytes(2**27))
    assert path.stat().st_size < 2**20
    with pytest.raises(CheckpointError, match=r"bomb\.pth was refused: \d+ bytes would unpack to 1342\d+"):
        load_checkpoint(path)
