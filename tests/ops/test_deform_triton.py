"""The Triton kernels of the deformable operators in Triton's interpreter, against the references."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from foveal.ops import dcnv3, deform_conv2d, multi_scale_deformable_attention
torch.manual_seed(0)

def agree(op, inputs):
    results = []
    for backend in ("triton", "reference"):
        y = op(backend)
        slope = torch.linspace(0, 1, y.numel(), dtype=y.dtype).view(y.shape)
        results.append((y, *torch.autograd.grad((y * slope).sum(), inputs)))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)

def leaf(x):
    return x.double().requires_grad_()

levels = torch.tensor([[3, 4], [2, 4]]), torch.tensor([0, 12])
value, at = leaf(torch.randn(2, 20, 2, 5)), leaf(torch.rand(2, 7, 2, 2, 3, 2) * 1.4 - 0.2)
weights = leaf(torch.rand(2, 7, 2, 2, 3))
agree(lambda b: multi_scale_deformable_attention(value, *levels, at, weights, backend=b), [value, at, weights])
x, offset, weight = leaf(torch.randn(1, 5, 4, 6)), leaf(torch.randn(1, 5, 4, 36)), leaf(torch.rand(1, 5, 4, 18))
agree(lambda b: dcnv3(x, offset, weight, 3, 1, 1, 1, 2, 0.5, backend=b), [x, offset, weight])
for groups, offset_groups, masked in ((1, 1, True), (2, 3, True), (2, 1, False)):
    x, weight = leaf(torch.randn(2, 6, 5, 4)), leaf(torch.randn(4, 6 // groups, 3, 2))
    offset, mask = leaf(2 * torch.randn(2, 12 * offset_groups, 3, 5)), leaf(torch.rand(2, 6 * offset_groups, 3, 5))
    given = [x, offset, weight, *([mask] if masked else [])]
    agree(lambda b: deform_conv2d(x, offset, weight, None, (2, 1), 1, 1, mask if masked else None, backend=b), given)
"""


def test_in_the_interpreter():
    pytest.importorskip("triton")
    # the interpreter is chosen when triton is imported
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})
