"""What looks into the operations: transforms of torch.func, derivatives in forward mode, traces."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from foveal import ops


def r(*shape):
    return torch.randn(shape, dtype=torch.float64)


# operator: a function of its first tensor, and that tensor
CASES = {
    "neighborhood_attention": (lambda x: ops.neighborhood_attention(x, x + 1, x * 2, 3), r(1, 5, 5, 2, 4)),
    "aggregated_attention": (
        lambda x: ops.aggregated_attention(x, x + 1, x * 2, x[:, 0], x[:, 1], kernel_size=3),
        r(1, 4, 5, 2, 4),
    ),
    "deform_conv2d": (lambda x: ops.deform_conv2d(x, *DEFORM, padding=1), r(1, 2, 5, 5)),
    "dcnv3": (lambda x: ops.dcnv3(x, *DCNV3, 3, padding=1, groups=2), r(1, 5, 5, 4)),
    "large_kernel_depthwise_conv2d": (lambda x: ops.large_kernel_depthwise_conv2d(x, DEPTHWISE), r(1, 2, 14, 14)),
    "im2win_conv2d": (lambda x: ops.im2win_conv2d(x, DENSE), r(1, 2, 6, 6)),
    "selective_scan": (lambda x: ops.selective_scan(x, x.exp(), *SCAN), r(1, 3, 6)),
    "ssd_hidden_state": (lambda x: ops.ssd_hidden_state(x, *STEPS), r(1, 6, 3)),
}
DEFORM = r(1, 18, 5, 5) / 4, r(3, 2, 3, 3)
DCNV3 = r(1, 5, 5, 36) / 4, r(1, 5, 5, 18)
DEPTHWISE = r(2, 1, 13, 13)
DENSE = r(3, 2, 3, 3)
SCAN = -r(3, 2).exp(), r(1, 2, 6), r(1, 2, 6)
STEPS = r(1, 4, 6), r(4), r(1, 4, 6)


@pytest.fixture(params=CASES)
def case(request, monkeypatch):
    """The function with the kernels, its tensor, and what the reference makes of a call of it."""
    call, x = CASES[request.param]
    monkeypatch.delenv("FOVEAL_OPS_BACKEND", raising=False)

    def by_reference(work):
        with monkeypatch.context() as patch:
            patch.setenv("FOVEAL_OPS_BACKEND", "reference")
            return work()

    return call, x, by_reference


@sdpa_kernel(SDPBackend.MATH)  # torch's other kernels have no derivative in forward mode
def test_forward_mode(case):
    call, x, by_reference = case
    tangent = torch.linspace(0, 1, x.numel(), dtype=x.dtype).view_as(x)

    def work():
        return torch.func.jvp(call, (x,), (tangent,))[1]

    want = by_reference(work)
    assert want.abs().max() > 0
    torch.testing.assert_close(work(), want)
    with forward_ad.dual_level():
        torch.testing.assert_close(forward_ad.unpack_dual(call(forward_ad.make_dual(x, tangent))).tangent, want)


def test_mapped_and_differentiated(case):
    call, x, by_reference = case
    several = torch.stack([x, x * 0.5])

    def work():
        return torch.func.vmap(torch.func.grad(lambda y: call(y).square().sum()))(several)

    torch.testing.assert_close(work(), by_reference(work))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_graph_holds_standard_operators(case):
    call, x, _ = case
    traced = torch.jit.trace(call, x, check_trace=False)
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert any(kind.startswith("aten::") for kind in kinds) and not any("foveal" in kind for kind in kinds)
    torch.testing.assert_close(traced(x), call(x))
