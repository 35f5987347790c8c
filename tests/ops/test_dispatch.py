"""The choice of a backend, and the sentences where one cannot compute."""

import subprocess
import sys

import pytest
import torch

from foveal import ops
from foveal.ops import compiled, dispatch

OP = "neighborhood_attention"


def test_the_fastest_that_can_is_chosen(monkeypatch):
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    monkeypatch.setattr(compiled, "load", lambda: None)
    assert dispatch.choose(OP, torch.empty(0)) == "cpp"
    assert dispatch.choose(OP, torch.empty(0, dtype=torch.float16)) == "reference"
    assert dispatch.choose(OP, torch.empty(0, device="meta")) == "reference"


def test_without_kernels_pytorch_serves_and_says_so_once(monkeypatch):
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    monkeypatch.setattr(compiled, "load", lambda: "the C++ kernels are not there: no compiler, for a test")
    with pytest.warns(UserWarning, match="no compiler, for a test; PyTorch serves, more slowly") as warned:
        assert dispatch.choose(OP, torch.empty(0)) == dispatch.choose(OP, torch.empty(0)) == "reference"
    assert len(warned) == 1


def test_what_the_environment_asks_for(monkeypatch):
    monkeypatch.setattr(compiled, "load", lambda: None)
    monkeypatch.setenv(dispatch.VARIABLE, "reference")
    assert dispatch.choose(OP, torch.empty(0)) == "reference"
    assert dispatch.choose(OP, torch.empty(0), "cpp") == "cpp"
    monkeypatch.setenv(dispatch.VARIABLE, "cuda")
    with pytest.warns(UserWarning, match=r"FOVEAL_OPS_BACKEND=cuda, but .*; another backend serves"):
        assert dispatch.choose(OP, torch.empty(0)) == "cpp"
    monkeypatch.setenv(dispatch.VARIABLE, "cublas")
    with pytest.raises(ValueError, match="must be one of cuda, triton, cpp, reference, got 'cublas'"):
        dispatch.choose(OP, torch.empty(0))


def test_a_backend_asked_for_by_argument_that_cannot():
    with pytest.raises(ValueError, match=r"'cpp' cannot compute this: .*on the CPU, the tensor is on meta"):
        dispatch.choose(OP, torch.empty(0, device="meta"), "cpp")
    with pytest.raises(ValueError, match=r"the C\+\+ kernel takes .*torch.float32.*, the tensor is torch.float16"):
        dispatch.choose(OP, torch.empty(0, dtype=torch.float16), "cpp")


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"FOVEAL_OPS_BUILD": "0"}, "FOVEAL_OPS_BUILD=0 forbids to build them"),
        ({"PATH": "", "CXX": ""}, "no C++ compiler"),
        ({"CXX": "false"}, "false -std=c++17"),
        ({"FOVEAL_HOME": "/proc/nowhere"}, "/proc/nowhere/ops"),
    ],
)
def test_what_stands_in_the_way_of_building(environment, sentence, monkeypatch, tmp_path):
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(compiled.BuildError) as error:
        compiled.build("DEFAULT")
    assert sentence in str(error.value)
    assert not list(tmp_path.rglob("*.so"))


def test_everything_imports_and_computes_without_kernels(monkeypatch, tmp_path):
    code = (
        "import torch, foveal.ops as o; x = torch.rand(1, 9, 9, 1, 4); "
        "print(o.neighborhood_attention(x, x, x, 3).shape, torch.ops.foveal.neighborhood_attention("
        "x, x, x, None, [3, 3], [1, 1], 0.5, None).shape)"
    )
    monkeypatch.setenv("FOVEAL_OPS_BUILD", "0")
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("[1, 9, 9, 1, 4]") == 2, done.stderr
    assert done.stderr.count("PyTorch serves, more slowly") == 1


def test_doctors_lines_name_every_operator():
    lines = list(dispatch.report())
    assert {line.split()[0] for line in lines} == set(dispatch.KERNELS) and OP in ops.__all__
    assert all("reference" in line for line in lines)
