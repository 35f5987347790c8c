"""The hidden states of state-space duality against their definition."""

import pytest
import torch

from foveal.ops import ssd_hidden_state


def arguments(batch=2, length=6, dim=3, states=4, dtype=torch.float64, grad=False):
    shapes = {"x": (batch, length, dim), "dt": (batch, states, length), "A": (states,), "B": (batch, states, length)}
    return {name: torch.randn(shape, dtype=dtype, requires_grad=grad) for name, shape in shapes.items()}


@pytest.mark.parametrize("case", [{}, {"batch": 1, "length": 1}, {"states": 9, "dim": 1}])
def test_equals_its_definition(case):
    given = arguments(**case)
    want = torch.zeros(given["B"].shape[0], given["A"].shape[0], given["x"].shape[2], dtype=torch.float64)
    for n, s in [(n, s) for n in range(want.shape[0]) for s in range(want.shape[1])]:
        rates = (given["dt"][n, s] + given["A"][s]).exp()
        for share, b, x in zip(rates / rates.sum(), given["B"][n, s], given["x"][n], strict=True):
            want[n, s] += share * b * x
    torch.testing.assert_close(ssd_hidden_state(**given), want)


def test_gradients():
    given = arguments(batch=1, length=3, dim=2, states=2, grad=True)
    assert torch.autograd.gradcheck(ssd_hidden_state, (*given.values(),))


def test_steps_stay_exact_beside_large_rates():
    """In bfloat16 a step is lost beside a rate of 16; a float32 rate keeps it."""
    given = {name: value.bfloat16() for name, value in arguments().items()}
    want = ssd_hidden_state(**{name: value.double() for name, value in given.items()})
    got = ssd_hidden_state(**given | {"A": given["A"].float() + 16})
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, rtol=2e-2, atol=2e-2)


def test_no_images():
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
