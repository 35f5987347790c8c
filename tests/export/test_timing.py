"""Runtimes side by side."""

import pytest

import foveal
from foveal.cli import main
from foveal.errors import ExportError
from foveal.export import time_backends


def test_every_backend_has_a_row():
    rows = time_backends(foveal.create_restorer("espcn_x2"), ("eager", "torchscript", "onnx"), (24, 32), repeats=2)
    assert [row["backend"] for row in rows] == ["eager", "torchscript", "onnx"]
    assert rows[0]["ratio"] == 1
    for row in rows:
        assert row["ms"] > 0
        assert row["ratio"] == pytest.approx(rows[0]["ms"] / row["ms"], rel=0.2)


def test_what_cannot_run_says_why_and_the_rest_is_timed(monkeypatch, capsys):
    monkeypatch.setattr("foveal.export.tensorrt.PACKAGES", ("no_such_tensorrt",))
    main(["benchmark", "espcn_x2", "--size", "24x32", "--backends", "tensorrt", "eager", "--repeats", "1"])
    missing, eager = capsys.readouterr().out.splitlines()
    assert missing.startswith("tensorrt") and "TensorRT is missing" in missing
    assert eager.startswith("eager") and "ms" in eager


def test_an_unknown_backend():
    with pytest.raises(ExportError, match="a backend is one of eager, compiled, onnx"):
        time_backends(foveal.create_restorer("espcn_x2"), ("caffe",), (24, 32))
