"""The Triton kernels of neighbourhood attention in Triton's interpreter, against the reference."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from foveal.ops import neighborhood_attention
torch.manual_seed(0)

def agree(sizes, kernel, dilation, dim=5, bias=True, dtype=torch.float32, **tolerance):
    inputs = [torch.randn(1, *sizes, 2, dim).to(dtype) for _ in range(3)]
    if bias:
        kernels = kernel if isinstance(kernel, tuple) else (kernel,) * len(sizes)
        inputs.append(torch.randn(2, *(2 * k - 1 for k in kernels)).to(dtype))
    inputs = [x.requires_grad_() for x in inputs]
    slope = torch.randn(1, *sizes, 2, dim).to(dtype)
    results = []
    for backend in ("triton", "reference"):
        y = neighborhood_attention(*inputs[:3], kernel, dilation, inputs[3] if bias else None, backend=backend)
        results.append((y, *torch.autograd.grad((y * slope).sum(), inputs)))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, **tolerance)

agree((4, 37), (3, 7), (1, 2), rtol=1e-4, atol=2e-5)
agree((7,), 3, 2, bias=False, rtol=1e-4, atol=2e-5)
# bfloat16 is a bare integer to the interpreter's dot
agree((3, 5), 3, 1, dim=16, dtype=torch.float16, rtol=0.02, atol=0.02)
"""


def test_in_the_interpreter():
    pytest.importorskip("triton")
    # the interpreter is chosen when triton is imported
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})
