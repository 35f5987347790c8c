"""Every backend that runs here: an operator's tests take the fixture ``backend`` and are run with each.

With ``-m gpu`` they run on a GPU instead, their tensors made there, with the kernel in CUDA C++.
"""

import contextlib

import pytest
import torch

from foveal.ops import compiled, compiled_cuda


@pytest.fixture(params=["reference", "cpp", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request, monkeypatch):
    reason = {"cpp": compiled.load, "cuda": compiled_cuda.load}.get(request.param, lambda: None)()
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("FOVEAL_OPS_BACKEND", request.param)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # what is compared with is exact
    with torch.device("cuda") if request.param == "cuda" else contextlib.nullcontext():
        yield request.param
