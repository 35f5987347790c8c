"""Neighbourhood attention against its definition, written out query by query."""

import itertools

import pytest
import torch
import torch.nn.functional as F

import foveal.ops
from foveal.ops.neighborhood_attention import NeighborhoodAttention2D, neighborhood_attention, reference

CASES = [
    # sizes, kernel_size, dilation
    ((7,), 7, 1),
    ((40,), 3, 1),
    ((23,), 5, 3),
    ((5, 9), 5, 1),
    ((17, 8), 3, 2),
    ((14, 13), 3, 4),
    ((15, 14), 7, 2),
    ((22, 22), 1, 5),
    ((20, 9), (3, 5), (4, 1)),
    ((12, 37), (1, 7), (3, 2)),
    ((1, 19), (1, 3), 1),
]


def inputs(sizes, kernel_size, heads=2, dim=3, batch=2, dtype=torch.float64):
    q, k, v = (torch.randn(batch, *sizes, heads, dim, dtype=dtype) for _ in range(3))
    kernel_size = (kernel_size,) * len(sizes) if isinstance(kernel_size, int) else kernel_size
    return q, k, v, torch.randn(heads, *(2 * size - 1 for size in kernel_size), dtype=dtype)


def neighbours(length, kernel_size, dilation, i):
    """Positions that position i attends to, nearest first within its group, and the numbers of their biases."""
    group = list(range(i % dilation, length, dilation))
    own = group.index(i)
    windows = [
        range(s, s + kernel_size) for s in range(len(group) - kernel_size + 1) if own in range(s, s + kernel_size)
    ]
    window = min(windows, key=lambda w: abs(w[kernel_size // 2] - own))
    return [(group[j], j - own + kernel_size - 1) for j in window]


def slow(q, k, v, kernel_size, dilation, rpb=None, scale=None):
    sizes = q.shape[1:-2]
    kernel_size, dilation = ((n,) * len(sizes) if isinstance(n, int) else n for n in (kernel_size, dilation))
    out = torch.empty_like(q)
    for place in itertools.product(*map(range, sizes)):
        axes = [neighbours(*args) for args in zip(sizes, kernel_size, dilation, place, strict=True)]
        keys = [tuple(zip(*pair, strict=True)) for pair in itertools.product(*axes)]
        for n, head in itertools.product(range(q.shape[0]), range(q.shape[-2])):
            scores = []
            for key, number in keys:
                score = q[(n, *place, head)] @ k[(n, *key, head)] * (q.shape[-1] ** -0.5 if scale is None else scale)
                scores.append(score if rpb is None else score + rpb[(head, *number)])
            weights = torch.stack(scores).softmax(0)
            out[(n, *place, head)] = sum(w * v[(n, *key, head)] for w, (key, _) in zip(weights, keys, strict=True))
    return out


@pytest.mark.parametrize(("sizes", "kernel_size", "dilation"), CASES)
def test_equals_the_definition(backend, sizes, kernel_size, dilation):
    q, k, v, rpb = inputs(sizes, kernel_size)
    got = neighborhood_attention(q, k, v, kernel_size, dilation, rpb)
    torch.testing.assert_close(got, slow(q, k, v, kernel_size, dilation, rpb), rtol=1e-10, atol=1e-10)


def test_scale_and_no_bias(backend):
    q, k, v, _ = inputs((8, 9), 3)
    torch.testing.assert_close(neighborhood_attention(q, k, v, 3, 2, scale=0.3), slow(q, k, v, 3, 2, scale=0.3))
    torch.testing.assert_close(neighborhood_attention(q, k, v, 3, 2), slow(q, k, v, 3, 2))


@pytest.mark.parametrize("sizes", [(9,), (7, 7), (5, 11)])
def test_full_window_is_attention(backend, sizes):
    q, k, v, _ = inputs(sizes, 1)
    flat = [x.flatten(1, -3).transpose(1, 2) for x in (q, k, v)]
    want = F.scaled_dot_product_attention(*flat).transpose(1, 2).reshape(q.shape)
    torch.testing.assert_close(neighborhood_attention(q, k, v, sizes), want)


def test_two_axes_are_one_where_the_other_has_length_one(backend):
    q, k, v, rpb = inputs((13, 1), (5, 1))
    got = neighborhood_attention(q, k, v, (5, 1), 1, rpb)
    want = neighborhood_attention(*(x.squeeze(2) for x in (q, k, v)), 5, 1, rpb.squeeze(2))
    torch.testing.assert_close(got.squeeze(2), want)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)])
@pytest.mark.filterwarnings("ignore:neighborhood_attention. FOVEAL_OPS_BACKEND=cpp")
def test_other_types(backend, dtype, tolerance):
    tensors = inputs((15, 10), 3, dtype=dtype)
    got = neighborhood_attention(*tensors[:3], 3, 2, tensors[3])
    q, k, v, rpb = (x.double() for x in tensors)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), neighborhood_attention(q, k, v, 3, 2, rpb), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(backend, batch):
    q, k, v, rpb = inputs((21, 10), 3, batch=batch)
    assert neighborhood_attention(q, k, v, 3, 2, rpb).shape == q.shape


def test_strided_inputs(backend):
    q, k, v, rpb = inputs((10, 12), 3)
    packed = torch.stack((q, k, v), 3)
    torch.testing.assert_close(
        neighborhood_attention(*packed.unbind(3), 3, 2, rpb), neighborhood_attention(q, k, v, 3, 2, rpb)
    )


@pytest.mark.parametrize(("sizes", "kernel_size", "dilation"), [((8,), 3, 2), ((5, 7), 3, 1), ((7, 6), 3, 2)])
def test_gradients(backend, sizes, kernel_size, dilation):
    tensors = [x.requires_grad_() for x in inputs(sizes, kernel_size, heads=2, dim=2, batch=1)]
    assert torch.autograd.gradcheck(
        lambda q, k, v, rpb: neighborhood_attention(q, k, v, kernel_size, dilation, rpb), tensors
    )


@pytest.mark.parametrize("which", range(4))
def test_gradient_of_one_input(backend, which):
    tensors = inputs((20, 9), 3)
    alone = [x.clone().requires_grad_(i == which) for i, x in enumerate(tensors)]
    both = [x.clone().requires_grad_() for x in tensors]
    for q, k, v, rpb in (alone, both):
        neighborhood_attention(q, k, v, 3, 1, rpb).square().sum().backward()
    torch.testing.assert_close(alone[which].grad, both[which].grad)


def test_compiled_twice(backend):
    compiled = torch.compile(neighborhood_attention, backend="aot_eager", fullgraph=True, dynamic=False)
    for size in (12, 17):
        tensors = [x.requires_grad_() for x in inputs((size, 9), 3)]
        got, want = (attend(*tensors[:3], 3, 2, tensors[3]) for attend in (compiled, neighborhood_attention))
        torch.testing.assert_close(got, want)
        gradients = (torch.autograd.grad(y.square().sum(), tensors) for y in (got, want))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bias", [True, False])
def test_registered_operator_is_sound(bias):
    q, k, v, rpb = (x.requires_grad_() for x in inputs((9, 8), 3))
    arguments = (q, k, v, rpb if bias else None, [3, 3], [2, 1], 0.5, None)
    torch.library.opcheck(torch.ops.foveal.neighborhood_attention.default, arguments)


def test_gradients_of_large_inputs_agree(backend):
    tensors = [x.requires_grad_() for x in inputs((33, 29), (7, 5), heads=3, dim=20)]
    weight = torch.randn_like(tensors[0])
    got = torch.autograd.grad((neighborhood_attention(*tensors[:3], (7, 5), 2, tensors[3]) * weight).sum(), tensors)
    plain = neighborhood_attention(*tensors[:3], (7, 5), 2, tensors[3], backend="reference")
    for a, b in zip(got, torch.autograd.grad((plain * weight).sum(), tensors), strict=True):
        torch.testing.assert_close(a, b)


def test_exported_graph_holds_standard_operators():
    class Layer(torch.nn.Module):
        def forward(self, q, k, v):
            return neighborhood_attention(q, k, v, 3)

    q, k, v, _ = inputs((8, 8), 3)
    graph = str(torch.export.export(Layer(), (q, k, v)).graph)
    assert "foveal" not in graph and "scaled_dot_product_attention" in graph


def test_cut_axes_are_kept_and_fit_for_training():
    reference._axes.clear()
    q, k, v, rpb = inputs((20, 20), 3)
    with torch.inference_mode():
        neighborhood_attention(q, k, v, 3, 2, rpb, backend="reference")
    assert len(reference._axes) == 1
    q.requires_grad_()
    neighborhood_attention(q, k, v, 3, 2, rpb, backend="reference").sum().backward()
    assert len(reference._axes) == 1 and q.grad.isfinite().all()
    for length in range(6, 6 + reference.CAPACITY + 5):
        reference._cut(length, 3, 1, q.device)
    assert len(reference._axes) == reference.CAPACITY


def test_memory_stays_far_below_keys_gathered_for_each_query():
    q, k, v, rpb = inputs((56, 56), 7, batch=1, dim=32, dtype=torch.float32)
    q.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        neighborhood_attention(q, k, v, 7, 1, rpb, backend="reference")
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in kept}
    assert sum(storages.values()) < 0.25 * 2 * 49 * q.numel() * q.element_size()


class TestMistakes:
    def check(self, message, *args, **kwargs):
        with pytest.raises(ValueError, match=message):
            neighborhood_attention(*args, **kwargs)

    def test_shapes(self):
        q, k, v, rpb = inputs((9, 8), 3)
        self.check(
            r"q must be \[N, H, W, heads, dim\] or .* got shape \[9, 8, 2\]", *(x[0, ..., 0] for x in (q, k, v)), 3
        )
        self.check(r"k must have q's shape \[2, 9, 8, 2, 3\], got \[2, 9, 8, 1, 3\]", q, k[..., :1, :], v, 3)
        self.check(r"v must have q's shape", q, k, v[:1], 3)
        self.check(r"rpb must have shape \[2, 5, 5\].* got \[2, 5, 4\]", q, k, v, 3, rpb=rpb[..., :4])
        self.check(r"rpb must have shape \[2, 9, 5\]", q, k, v, (5, 3), rpb=rpb)

    def test_numbers(self):
        q, k, v, _ = inputs((9, 8), 3)
        self.check(r"kernel_size must be odd on every axis, got \(3, 4\)", q, k, v, (3, 4))
        self.check(r"kernel_size must be a positive integer or 2", q, k, v, (3, 3, 3))
        self.check(r"kernel_size must be a positive integer", q, k, v, -3)
        self.check(r"dilation must be a positive integer", q, k, v, 3, 0)
        self.check(r"dilation must be a positive integer", q, k, v, 3, 1.5)
        self.check(r"on axis 2 of q \[2, 9, 8, 2, 3\] it is 3 \* 3 = 9, the length 8", q, k, v, 3, 3)

    def test_types_and_devices(self):
        q, k, v, rpb = inputs((9, 8), 3)
        self.check(r"k must have q's dtype torch.float64, got torch.float32", q, k.float(), v, 3)
        self.check(r"rpb must have q's dtype", q, k, v, 3, rpb=rpb.half())
        self.check(r"v must be on q's device cpu, got meta", q, k, v.to("meta"), 3)
        self.check(r"q must be floating-point, got torch.int64", q.long(), k.long(), v.long(), 3)


def test_layer_pads_maps_that_are_too_small():
    layer = NeighborhoodAttention2D(6, 2, 3, dilation=2).double()
    x = torch.randn(1, 4, 9, 6, dtype=torch.float64)
    q, k, v = layer.qkv(F.pad(x, (0, 0, 0, 0, 0, 2))).view(1, 6, 9, 3, 2, 3).unbind(3)
    want = layer.proj(slow(q, k, v, 3, 2, layer.rpb).flatten(-2)[:, :4])
    torch.testing.assert_close(layer(x), want)


def test_layer_in_bfloat16_and_without_biases():
    layer = NeighborhoodAttention2D(6, 2, 3, qkv_bias=False, rel_pos_bias=False)
    assert sorted(layer.state_dict()) == ["proj.bias", "proj.weight", "qkv.weight"]
    with torch.autocast("cpu", torch.bfloat16):
        assert NeighborhoodAttention2D(6, 2, 3)(torch.randn(1, 5, 5, 6)).dtype == torch.bfloat16


def test_layer_needs_whole_heads():
    with pytest.raises(ValueError, match="multiple of num_heads, got 7 and 2"):
        NeighborhoodAttention2D(7, 2, 3)


def test_the_name_users_type():
    assert foveal.ops.neighborhood_attention is neighborhood_attention
