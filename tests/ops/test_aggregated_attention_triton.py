"""The Triton kernels of aggregated attention in Triton's interpreter, against the reference."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from foveal.ops import aggregated_attention
torch.manual_seed(0)

def agree(height, width, pooled, size, dim=5, absent=(), dtype=torch.float32, **tolerance):
    image, pool = (2, height, width, 2, dim), (2, pooled, 2, dim)
    shapes = dict(q=image, k=image, v=image, k_pool=pool, v_pool=pool, local_bias=(2, size**2),
                  pool_bias=(2, height * width, pooled), local_weights=(2, height, width, 2, size**2))
    given = {name: torch.randn(shape).to(dtype) for name, shape in shapes.items() if name not in absent}
    given = {name: x.requires_grad_() for name, x in given.items()}
    results = []
    for backend in ("triton", "reference"):
        y = aggregated_attention(**given, kernel_size=size, backend=backend)
        results.append((y, *torch.autograd.grad(y.square().sum(), given.values())))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, **tolerance)

agree(2, 19, 34, 3, rtol=1e-4, atol=1e-4)
agree(3, 2, 3, 5, absent=("local_bias", "pool_bias", "local_weights"), rtol=1e-4, atol=1e-4)
# bfloat16 is a bare integer to the interpreter's dot
agree(2, 3, 4, 3, dim=16, dtype=torch.float16, rtol=0.02, atol=0.05)
"""


def test_in_the_interpreter():
    pytest.importorskip("triton")
    # the interpreter is chosen when triton is imported
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})
