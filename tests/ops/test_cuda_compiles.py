"""The CUDA C++ sources compile for the GPUs that the library is built for; that needs nvcc and no GPU."""

import pytest
import torch

from foveal.ops import compiled, compiled_cuda, dispatch


def test_sources_compile_for_every_gpu(tmp_path):
    compiler = compiled_cuda.nvcc()
    if compiler is None:
        pytest.skip("no nvcc on this machine")
    commands = compiled_cuda.compile_commands(compiler, compiled_cuda.targets_of(compiled_cuda.AHEAD), tmp_path)
    assert commands
    compiled.run_all(commands.values())
    for path in commands:
        built = path.read_bytes()
        assert all(f"sm_{number}".encode() in built for number in compiled_cuda.AHEAD), path.name


def test_what_is_compiled_names_every_gpu_and_source(tmp_path):
    commands = compiled_cuda.compile_commands("nvcc", compiled_cuda.targets_of(["80", "90"]), tmp_path)
    assert {path.stem for path in commands} == {path.stem for path in (compiled.CSRC / "cuda").glob("*.cu")}
    flags = next(iter(commands.values()))
    assert [flag.rpartition("code=")[2] for flag in flags if "gencode" in flag] == ["sm_80", "sm_90", "compute_90"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so():
    assert compiled_cuda.load() == "the CUDA kernels need an NVIDIA GPU and a torch that is built for it"
    reason = dispatch.why_not("large_kernel_depthwise_conv2d", torch.zeros(1), "cuda")
    assert reason == "the CUDA kernels compute on an NVIDIA GPU, the tensor is on cpu"


def test_without_nvcc_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(compiled_cuda, "nvcc", lambda: None)
    assert compiled_cuda.build_ahead() == []
    with pytest.raises(compiled.BuildError, match="there is no nvcc to build them with"):
        compiled_cuda.build()
