"""Every backend that runs here: an operator's tests take the fixture ``backend`` and are run with each."""

import pytest

from foveal.ops import compiled


@pytest.fixture(params=["reference", "cpp"])
def backend(request, monkeypatch):
    if request.param == "cpp":
        reason = compiled.load()
        if reason:
            pytest.skip(reason)
    monkeypatch.setenv("FOVEAL_OPS_BACKEND", request.param)
    return request.param
