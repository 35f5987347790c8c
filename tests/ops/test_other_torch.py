"""One library of C++ kernels serves every torch: built with this one, it computes with another.

    FOVEAL_OTHER_PYTHON=/path/to/python pytest -m slow tests/ops/test_other_torch.py

The other Python needs a torch of its own, at least 2.10, and nothing else.
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from foveal.ops import compiled

PROGRAM = """
import pathlib, sys
import torch
from foveal.ops import aggregated_attention, compiled, neighborhood_attention

compiled.find = lambda level: pathlib.Path(sys.argv[1])  # that library, and no other
assert compiled.load() is None, compiled.load()
torch.manual_seed(0)

def agree(attend, shapes, *numbers):
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    results = []
    for backend in ("cpp", "reference"):
        y = attend(*inputs, *numbers, backend=backend)
        results.append((y, *torch.autograd.grad(y.square().sum(), inputs)))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)

image, pool = (2, 9, 11, 2, 5), (2, 4, 2, 5)
agree(neighborhood_attention, [image] * 3, 3, 2)
agree(aggregated_attention, [image] * 3 + [pool] * 2, 3)
print(torch.__version__)
"""


@pytest.mark.slow
def test_library_of_this_torch_computes_with_another(tmp_path):
    python = os.environ.get("FOVEAL_OTHER_PYTHON")
    if not python:
        pytest.skip("FOVEAL_OTHER_PYTHON does not name a Python with another torch")
    level = torch.backends.cpu.get_cpu_capability()
    library = compiled.build(level if level in compiled.LEVELS else "DEFAULT")
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [python, "-c", PROGRAM, str(library)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "FOVEAL_OPS_BUILD": "0"},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[-1] != torch.__version__, "the other Python has this torch"
    print(f"built with torch {torch.__version__}, computed with torch {ran.stdout.split()[-1]}")
