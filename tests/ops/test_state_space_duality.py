"""The hidden states of state-space duality against their definition."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from foveal.ops import ssd_hidden_state
from foveal.ops.state_space_duality import HSMSSD, ssd_hidden_state_reference


def arguments(batch=2, length=6, dim=3, states=4, dtype=torch.float64, grad=False):
    shapes = {"x": (batch, length, dim), "dt": (batch, states, length), "A": (states,), "B": (batch, states, length)}
    return {name: torch.randn(shape, dtype=dtype, requires_grad=grad) for name, shape in shapes.items()}


@pytest.mark.parametrize("case", [{}, {"batch": 1, "length": 1}, {"states": 9, "dim": 1}])
def test_equals_its_definition(backend, case):
    given = arguments(**case)
    want = torch.zeros(given["B"].shape[0], given["A"].shape[0], given["x"].shape[2], dtype=torch.float64)
    for n, s in [(n, s) for n in range(want.shape[0]) for s in range(want.shape[1])]:
        rates = (given["dt"][n, s] + given["A"][s]).exp()
        for share, b, x in zip(rates / rates.sum(), given["B"][n, s], given["x"][n], strict=True):
            want[n, s] += share * b * x
    torch.testing.assert_close(ssd_hidden_state(**given), want)


@pytest.mark.parametrize("length", [1, 15, 16, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_backends_agree(backend, length, dtype):
    given = arguments(length=length, dim=5, states=3, dtype=dtype, grad=True)
    # as a mixer has them: parts of one tensor, and an image with its channels first
    parts = torch.randn(2, 9, length, dtype=dtype).chunk(3, 1)
    given |= {"dt": parts[2].requires_grad_(), "B": parts[0].requires_grad_()}
    given["x"] = torch.randn(2, 5, length, dtype=dtype).transpose(1, 2).requires_grad_()
    results = []
    for name in (backend, "reference"):
        h = ssd_hidden_state(**given, backend=name)
        results.append((h, *torch.autograd.grad(h.square().sum(), [*given.values()])))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want)


def test_positions_that_do_not_lie_side_by_side(backend):
    given = arguments()
    given |= {name: given[name].transpose(1, 2).contiguous().transpose(1, 2) for name in ("dt", "B")}
    want = ssd_hidden_state(**{name: y.contiguous() for name, y in given.items()}, backend="reference")
    torch.testing.assert_close(ssd_hidden_state(**given), want)


def test_gradients(backend):
    given = arguments(batch=1, length=3, dim=2, states=2, grad=True)
    assert torch.autograd.gradcheck(ssd_hidden_state, (*given.values(),))


@pytest.mark.parametrize("name", ["x", "dt", "A", "B"])
def test_gradient_of_one_alone(backend, name):
    given = arguments()
    given[name].requires_grad_()
    ssd_hidden_state(**given).sum().backward()
    assert given[name].grad.shape == given[name].shape


def test_weights_of_zero_keep_the_gradients_of_steps(backend):
    given = arguments(grad=True)
    with torch.no_grad():
        given["B"][:, :, 0] = 0
    got, want = (
        torch.autograd.grad(ssd_hidden_state(**given, backend=name).sum(), given["dt"])[0]
        for name in (backend, "reference")
    )
    torch.testing.assert_close(got, want)


def test_large_steps_do_not_overflow(backend):
    given = arguments(dtype=torch.float32)
    given["dt"] = given["dt"] * 1000
    assert ssd_hidden_state(**given).isfinite().all()


def test_compiled(backend):
    compiled = torch.compile(ssd_hidden_state, backend="aot_eager", fullgraph=True, dynamic=False)
    given = arguments(grad=True)
    for _ in range(2):
        h = compiled(**given)
        torch.testing.assert_close(h, ssd_hidden_state(**given))
        h.sum().backward()


def test_registered_operator_is_sound(backend):
    torch.library.opcheck(torch.ops.foveal.state_space_duality.default, (*arguments(grad=True).values(), None))


def test_autocast_keeps_the_type(backend):
    given = arguments(dtype=torch.float32)
    with torch.autocast("cuda" if backend == "cuda" else "cpu", dtype=torch.bfloat16):
        h = ssd_hidden_state(**given)
    assert h.dtype == torch.float32
    torch.testing.assert_close(h, ssd_hidden_state(**given, backend="reference"), rtol=2e-2, atol=2e-2)


def test_exported_graph_holds_standard_operators(backend):
    class Layer(torch.nn.Module):
        def forward(self, x, dt, A, B):
            return ssd_hidden_state(x, dt, A, B)

    assert "foveal" not in str(torch.export.export(Layer(), tuple(arguments().values())).graph)


TRITON = """
import torch
from foveal.ops import ssd_hidden_state
torch.manual_seed(0)
def agree(length, dim, states, dtype=torch.float32, **tolerance):
    shapes = ((2, length, dim), (2, states, length), (states,), (2, states, length))
    given = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    results = []
    for backend in ("triton", "reference"):
        h = ssd_hidden_state(*given, backend=backend)
        results.append((h, *torch.autograd.grad(h.square().sum(), given)))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, **tolerance)
agree(5, 3, 2)
agree(35, 70, 17, rtol=1e-4, atol=1e-5)
# bfloat16 is a bare integer to the interpreter's dot
agree(33, 16, 9, torch.float16, rtol=2e-2, atol=2e-2)
"""


def test_triton_in_its_interpreter():
    pytest.importorskip("triton")
    # the interpreter is chosen when triton is imported
    subprocess.run([sys.executable, "-c", TRITON], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})


def test_steps_stay_exact_beside_large_rates():
    """In bfloat16 a step is lost beside a rate of 16; a float32 rate keeps it."""
    given = {name: value.bfloat16() for name, value in arguments().items()}
    want = ssd_hidden_state(**{name: value.double() for name, value in given.items()})
    got = ssd_hidden_state(**given | {"A": given["A"].float() + 16})
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, rtol=2e-2, atol=2e-2)


def test_no_images(backend):
    assert ssd_hidden_state(**arguments(batch=0)).shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 6)}, r"x must be \[N, L, dim\], got shape \[2, 6\]"),
        ({"x": torch.zeros(2, 6, 3, dtype=torch.int64)}, "x must be floating-point, got torch.int64"),
        ({"A": torch.zeros(4, 1)}, r"A must be \[S\], got shape \[4, 1\]"),
        ({"A": torch.zeros(4, dtype=torch.int64)}, "A must be floating-point, got torch.int64"),
        ({"dt": torch.zeros(2, 6, 4)}, r"dt must be \[N, S, L\], here \[2, 4, 6\], got shape \[2, 6, 4\]"),
        ({"B": torch.zeros(2, 4, 6)}, "B must have x's dtype torch.float64, got torch.float32"),
        ({"A": torch.zeros(4, device="meta")}, "A must be on x's device cpu, got meta"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ssd_hidden_state(**arguments() | change)


def test_layer_mixes_hidden_states():
    layer = HSMSSD(6, 3).double()
    x = torch.randn(2, 20, 6, dtype=torch.float64)
    y, h = layer(x, 4, 5)
    steps = layer.dw["conv"](layer.BCdt_proj.conv(x.transpose(1, 2)).view(2, 9, 4, 5)).flatten(2)
    b, c, dt = steps[:, :3], steps[:, 3:6], steps[:, 6:]
    value, gate = layer.hz_proj(ssd_hidden_state_reference(x, dt, layer.A, b)).split(6, 2)
    want = layer.out_proj(value * F.silu(gate) + value * layer.D)
    torch.testing.assert_close(h, want)
    torch.testing.assert_close(y, torch.einsum("nsd,nsl->ndl", want, c).view(2, 6, 4, 5))
    assert {name for name, _ in layer.named_parameters()} == {
        *("A", "D", "dw.conv.weight"),
        *(f"{name}.conv.weight" for name in ("BCdt_proj", "hz_proj", "out_proj")),
    }


def test_layer_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        y, h = HSMSSD(6, 3)(torch.randn(2, 20, 6), 4, 5)
    assert y.dtype == h.dtype == torch.bfloat16
