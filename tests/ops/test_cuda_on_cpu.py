"""The CUDA C++ sources played on the CPU, thread by thread, against conv2d: their indices, not their speed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foveal.ops import compiled, compiled_cuda

HERE = Path(__file__).resolve().parent

# What is CUDA's own in the sources, and what plays it
PLAYED = [
    (r"#include <cuda_runtime.h>", '#include "cuda_on_cpu.h"'),
    (r"extern __shared__ double memory\[\];", "double* const memory = played::shared.data();"),
    (r"__shared__", "static"),
    (r"__launch_bounds__\([^)]*\)", ""),
    (r"(\w+(?:<[^;<>]*>)?)<<<(.+?), (.+?), (.+?), .+?>>>\((.*?)\);", r"played::launch(\2, \3, \4, [&] { \1(\5); });"),
    (r", CUDA, m\)", ", CPU, m)"),
    (r"const torch::stable::accelerator::DeviceGuard guard\(.*?\);", ""),
    (r"void\* stream = nullptr;.*?return static_cast<cudaStream_t>\(stream\);", "return nullptr;"),
    (r"const cudaError_t error = cudaGetLastError\(\);.*?;\n", ""),
]

CODE = """
import sys, torch, torch.nn.functional as F
import foveal.ops
from foveal.ops import dispatch, im2win_conv2d, large_kernel_depthwise_conv2d
torch.ops.load_library(sys.argv[1])
for op in ("large_kernel_depthwise_conv2d", "im2win_conv2d"):
    dispatch.KERNELS[op]["cuda"] = lambda x: None
torch.manual_seed(0)
for shape, kernel, stride, padding, dilation in [
    ((2, 3, 9, 12), (3, 3), 1, (1, 1), 1),
    ((2, 1, 70, 40), (51, 51), 1, (25, 25), 1),
    ((1, 2, 40, 33), (31, 5), 2, (15, 2), 1),
    ((1, 1, 90, 20), (3, 5), 1, (60, 40), (40, 9)),
    ((1, 2, 66, 35), (5, 31), (5, 2), (8, 60), (5, 4)),
    ((20, 1, 16, 16), (3, 3), (17, 1), (1, 1), 1),
]:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        made = torch.randn(shape), torch.randn(shape[1], 1, *kernel), torch.randn(shape[1])
        ours = [t.to(dtype).requires_grad_() for t in made]
        exact = [t.detach().double().requires_grad_() for t in ours]
        y = large_kernel_depthwise_conv2d(*ours, stride, padding, dilation, backend="cuda")
        want = F.conv2d(*exact, stride, padding, dilation, shape[1])
        grad = torch.randn_like(y)
        got = y, *torch.autograd.grad(y, ours, grad)
        for mine, other in zip(got, (want, *torch.autograd.grad(want, exact, grad.double()))):
            # thousands of numbers summed one by one in float32 or float64, else the result's own rounding
            far = torch.finfo(dtype).eps * (2 if dtype.itemsize == 2 else 64) * max(1.0, other.abs().max().item())
            torch.testing.assert_close(mine.double(), other, rtol=0, atol=far)
for shape, out, kernel, stride, padding in [
    ((1, 3, 35, 35), 96, (11, 11), (4, 4), (0, 0)),
    ((2, 64, 9, 9), 70, (3, 3), (1, 1), (1, 1)),
    ((3, 5, 23, 19), 130, (5, 5), (2, 2), (2, 2)),
    ((2, 33, 8, 40), 3, (1, 1), (1, 1), (0, 0)),
    ((1, 2, 14, 17), 3, (2, 6), (3, 1), (0, 3)),
]:
    x, weight, bias = torch.randn(shape), torch.randn(out, shape[1], *kernel), torch.randn(out)
    for given in (x, x.to(memory_format=torch.channels_last)):
        y = im2win_conv2d(given, weight, bias, stride, padding, backend="cuda")
        want = F.conv2d(x.double(), weight.double(), bias.double(), stride, padding)
        torch.testing.assert_close(y.double(), want, rtol=1e-5, atol=1e-4)
print("all equal")
"""


@pytest.mark.slow
def test_kernels_played_on_the_cpu_equal_conv2d(tmp_path):
    compiler = compiled_cuda.nvcc()
    if compiler is None:
        pytest.skip("no nvcc on this machine, which brings CUDA's headers")
    for source in (compiled.CSRC / "cuda").iterdir():
        text = source.read_text()
        for pattern, played in PLAYED:
            text = re.sub(pattern, played, text, flags=re.DOTALL)
        (tmp_path / source.name).with_suffix(".cpp" if source.suffix == ".cu" else source.suffix).write_text(text)
    root = Path(torch.__file__).resolve().parent
    flags = [flag for flag in compiled_cuda.FLAGS if flag != "-O3"]
    includes = [f"-I{folder}" for folder in (tmp_path, HERE, root / "include")]
    library = tmp_path / "played.so"
    sources = [str(path) for path in sorted(tmp_path.glob("*.cpp"))]
    command = [compiler, "-x=c++", "-O1", "-Xcompiler=-w", *flags, *includes, *sources, "-shared", "-o", str(library)]
    compiled.run_all([[*command, f"-L{root / 'lib'}", "-ltorch_cpu"]])
    done = subprocess.run([sys.executable, "-c", CODE, str(library)], capture_output=True, text=True)
    assert done.returncode == 0 and "all equal" in done.stdout, done.stderr[-2000:]
