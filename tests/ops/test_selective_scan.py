"""Selective scan: its definition by hand, the segmented form against it, gradients, mistakes."""

import math
import os
import subprocess
import sys

import pytest
import torch

from foveal.ops import selective_scan
from foveal.ops.selective_scan import SS2D, cross_selective_scan, selective_scan_reference


def arguments(batch=2, dim=4, length=11, states=3, groups=None, dtype=torch.float64, **grad):
    weights = (batch, states, length) if groups is None else (batch, groups, states, length)
    shapes = {"u": (batch, dim, length), "delta": (batch, dim, length), "A": (dim, states), "B": weights, "C": weights}
    shapes |= {"D": (dim,), "z": (batch, dim, length), "delta_bias": (dim,)}
    given = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    given["A"] = -given["A"].exp()
    return {name: value.requires_grad_(grad.get("grad", False)) for name, value in given.items()}


def by_hand(u, delta, A, B, C, D, z, delta_bias, n, d):
    """One channel of one sample as a scalar loop over the paper's recurrence."""
    state, outputs = [0.0] * A.shape[1], []
    for position in range(u.shape[2]):
        step = math.log1p(math.exp(float(delta[n, d, position] + delta_bias[d])))
        x = float(u[n, d, position])
        for s in range(len(state)):
            state[s] = math.exp(step * float(A[d, s])) * state[s] + step * float(B[n, s, position]) * x
        y = sum(float(C[n, s, position]) * state[s] for s in range(len(state))) + float(D[d]) * x
        gate = float(z[n, d, position])
        outputs.append(y * gate / (1 + math.exp(-gate)))
    return torch.tensor(outputs, dtype=torch.float64)


@pytest.mark.parametrize("length", [1, 2, 11, 64])
def test_equals_its_definition(backend, length):
    given = arguments(length=length)
    y = selective_scan(**given, delta_softplus=True)
    for n, d in ((0, 0), (1, 3)):
        torch.testing.assert_close(y[n, d], by_hand(**given, n=n, d=d))


@pytest.mark.parametrize("case", [{}, {"groups": 1}, {"groups": 2, "length": 50}, {"groups": 4, "length": 3}])
@pytest.mark.parametrize("left_out", [(), ("D",), ("z", "delta_bias"), ("D", "z", "delta_bias")])
@pytest.mark.parametrize("softplus", [False, True])
def test_equals_the_reference(backend, case, left_out, softplus):
    given = arguments(**case)
    if not softplus:
        given["delta"] = given["delta"].abs() / 10
    given |= dict.fromkeys(left_out)
    grouped = {name: given[name] if given[name].ndim == 4 else given[name].unsqueeze(1) for name in ("B", "C")}
    want = selective_scan_reference(**given | grouped, delta_softplus=softplus)
    torch.testing.assert_close(selective_scan(**given, delta_softplus=softplus), want)


def test_weights_that_are_the_same_everywhere(backend):
    given = arguments()
    given["B"] = torch.randn(4, 3, dtype=torch.float64)
    spread = given["B"][None, :, :, None].expand(2, 4, 3, 11)
    torch.testing.assert_close(selective_scan(**given), selective_scan(**given | {"B": spread}))


def test_gradients(backend):
    given = arguments(batch=1, dim=2, length=5, states=2, grad=True)
    assert torch.autograd.gradcheck(lambda *args: selective_scan(*args, delta_softplus=True), (*given.values(),))


def test_half_precision_is_computed_in_float32(backend):
    given = {name: value.bfloat16() for name, value in arguments(length=200).items()}
    wide = selective_scan(**{name: value.double() for name, value in given.items()}, delta_softplus=True)
    narrow = selective_scan(**given | {"A": given["A"].float()}, delta_softplus=True)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-2, atol=1e-2)


def test_no_images(backend):
    assert selective_scan(**arguments(batch=0)).shape == (0, 4, 11)


def test_not_contiguous(backend):
    given = arguments()
    turned = {n: v.transpose(-1, -2).contiguous().transpose(-1, -2) if v.ndim > 1 else v for n, v in given.items()}
    torch.testing.assert_close(selective_scan(**turned), selective_scan(**given))


@pytest.mark.parametrize("groups", [1, 3])
def test_gradients_of_large_inputs_agree(backend, groups):
    given = arguments(batch=2, dim=6, length=70, states=9, groups=groups, grad=True)
    weight = torch.randn_like(given["u"])
    got, want = (
        torch.autograd.grad((selective_scan(**given, delta_softplus=True, backend=b) * weight).sum(), [*given.values()])
        for b in (None, "reference")
    )
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


def test_compiled(backend):
    compiled = torch.compile(selective_scan, backend="aot_eager", fullgraph=True, dynamic=False)
    given = arguments(length=30)
    torch.testing.assert_close(compiled(**given), selective_scan(**given))


def test_registered_operator_is_sound():
    given = arguments(groups=2, grad=True)
    tensors = [given[name] for name in ("u", "delta", "A", "B", "C")]
    torch.library.opcheck(torch.ops.foveal.selective_scan.default, (*tensors, None))


def test_exported_graph_holds_standard_operators():
    class Layer(torch.nn.Module):
        def forward(self, u, delta, A, B, C):
            return selective_scan(u, delta, A, B, C)

    given = arguments()
    graph = str(torch.export.export(Layer(), tuple(given[name] for name in ("u", "delta", "A", "B", "C"))).graph)
    assert "foveal" not in graph


TRITON = """
import torch
from foveal.ops import selective_scan
torch.manual_seed(0)
for dim, length, states, groups in ((4, 5, 3, 2), (20, 4, 2, 1)):
    inputs, weights = (2, dim, length), (2, groups, states, length)
    given = [torch.randn(s, dtype=torch.float64) for s in (inputs, inputs, (dim, states), weights, weights)]
    given[2] = -given[2].exp()
    given = [x.requires_grad_() for x in given]
    results = []
    for backend in ("triton", "reference"):
        y = selective_scan(*given, delta_softplus=True, backend=backend)
        results.append((y, *torch.autograd.grad((y * torch.linspace(0, 1, length)).sum(), given)))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)
"""


def test_triton_in_its_interpreter():
    pytest.importorskip("triton")
    # the interpreter is chosen when triton is imported
    subprocess.run([sys.executable, "-c", TRITON], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": torch.zeros(2, 4)}, r"u must be \[N, dim, L\], got shape \[2, 4\]"),
        ({"u": torch.zeros(2, 4, 11, dtype=torch.int64)}, "u must be floating-point, got torch.int64"),
        ({"delta": torch.zeros(2, 4, 10).double()}, r"delta must have u's shape \[2, 4, 11\], got \[2, 4, 10\]"),
        ({"z": torch.zeros(2, 4, 11)}, "z must have u's dtype torch.float64, got torch.float32"),
        ({"A": torch.zeros(5, 3)}, r"A must be \[dim, S\] with u's dim 4, got shape \[5, 3\]"),
        ({"A": torch.zeros(4, 3, dtype=torch.complex64)}, "A must be real and floating-point, got torch.complex64"),
        ({"D": torch.zeros(4, 1)}, r"D must be \[dim\], here \[4\], got shape \[4, 1\]"),
        ({"B": torch.zeros(2, 3, 3, 11)}, r"B must be \[N, S, L\], here \[2, 3, 11\].* got shape \[2, 3, 3, 11\]"),
        ({"C": torch.zeros(2, 3, 11, device="meta")}, "C must be on u's device cpu, got meta"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        selective_scan(**arguments() | change)


def test_layer_scans_in_four_directions():
    layer = SS2D(4, d_state=3).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    want = torch.zeros_like(x)
    grid = torch.arange(15).view(3, 5)
    for i, path in enumerate([grid.flatten(), grid.T.flatten(), grid.flatten().flip(0), grid.T.flatten().flip(0)]):
        u = x.flatten(2)[..., path]
        steps, b, c = torch.split(layer.x_proj_weight[i] @ u, [1, 3, 3], 1)
        channels = slice(8 * i, 8 * i + 8)
        y = selective_scan(
            u,
            layer.dt_projs_weight[i] @ steps,
            -layer.A_logs[channels].exp(),
            b,
            c,
            layer.Ds[channels],
            delta_bias=layer.dt_projs_bias[i],
            delta_softplus=True,
            backend="reference",
        )
        want.flatten(2)[..., path] += y
    weights = layer.x_proj_weight, layer.dt_projs_weight, layer.dt_projs_bias, layer.A_logs, layer.Ds
    torch.testing.assert_close(cross_selective_scan(x, *weights), want)
    assert layer(torch.randn(1, 2, 7, 4).double()).shape == (1, 2, 7, 4)


def test_layer_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert SS2D(4, d_state=2)(torch.randn(1, 3, 2, 4)).dtype == torch.bfloat16


def test_layer_without_states():
    with pytest.raises(ValueError, match=r"expand \* dim and d_state must be at least 1, got 2.0 \* 4 and 0"):
        SS2D(4, d_state=0)


@pytest.mark.parametrize("groups", [1, 3])
def test_an_exported_graph_scans_in_one_node(groups):
    class Scan(torch.nn.Module):
        def forward(self, u, delta, A, B, C, D):
            return selective_scan(u, delta, A, B, C, D, delta_softplus=True)

    u, delta = (torch.randn(2, 6, 11, dtype=torch.float64) for _ in range(2))
    weights = [torch.randn(2, groups, 4, 11, dtype=torch.float64) for _ in range(2)]
    arguments = (u, delta, -torch.rand(6, 4, dtype=torch.float64), *weights, torch.randn(6, dtype=torch.float64))
    program = torch.export.export(Scan(), arguments, strict=False)
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert calls.count("scan") == 1 and not any("foveal" in call for call in calls)
    torch.testing.assert_close(program.module()(*arguments), Scan()(*arguments), rtol=1e-10, atol=1e-10)
