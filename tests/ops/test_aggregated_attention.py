"""Aggregated attention against its definition, position by position."""

import pytest
import torch
import torch.nn.functional as F

from foveal.ops import aggregated_attention
from foveal.ops.aggregated_attention import AggregatedAttention, make_positions
from foveal.ops.aggregated_attention.positions import make_axis


def arguments(batch=2, height=5, width=4, heads=2, dim=3, pooled=6, kernel_size=3, dtype=torch.float64, grad=False):
    window = kernel_size**2
    shapes = {
        **dict.fromkeys(("q", "k", "v"), (batch, height, width, heads, dim)),
        **dict.fromkeys(("k_pool", "v_pool"), (batch, pooled, heads, dim)),
        "local_bias": (heads, window),
        "pool_bias": (heads, height * width, pooled),
        "local_weights": (batch, height, width, heads, window),
    }
    return {name: torch.randn(shape, dtype=dtype, requires_grad=grad) for name, shape in shapes.items()} | {
        "kernel_size": kernel_size
    }


def by_position(q, k, v, k_pool, v_pool, kernel_size, local_bias, pool_bias, local_weights, scale):
    out = torch.zeros_like(q)
    batch, height, width, heads, _ = q.shape
    edge = kernel_size // 2
    for n, y, x, h in [
        (n, y, x, h) for n in range(batch) for y in range(height) for x in range(width) for h in range(heads)
    ]:
        window = [(y + i - edge, x + j - edge) for i in range(kernel_size) for j in range(kernel_size)]
        inside = [(m, *at) for m, at in enumerate(window) if 0 <= at[0] < height and 0 <= at[1] < width]
        local = [scale * q[n, y, x, h] @ k[n, i, j, h] + local_bias[h, m] for m, i, j in inside]
        pool = scale * k_pool[n, :, h] @ q[n, y, x, h] + pool_bias[h, y * width + x]
        weights = torch.cat((torch.stack(local), pool)).softmax(0)
        out[n, y, x, h] = weights[len(inside) :] @ v_pool[n, :, h]
        for weight, (m, i, j) in zip(weights, inside, strict=False):
            out[n, y, x, h] += (weight + local_weights[n, y, x, h, m]) * v[n, i, j, h]
    return out


@pytest.mark.parametrize(
    "case",
    [{}, {"kernel_size": 5, "height": 3}, {"pooled": 1, "batch": 1}, {"height": 1, "width": 1}, {"kernel_size": 1}],
)
def test_equals_its_definition(backend, case):
    given = arguments(**case)
    torch.testing.assert_close(aggregated_attention(**given, scale=0.7), by_position(**given, scale=0.7))


def test_defaults(backend):
    given = arguments()
    zeros = {name: torch.zeros_like(given.pop(name)) for name in ("local_bias", "pool_bias", "local_weights")}
    torch.testing.assert_close(aggregated_attention(**given), by_position(**given, **zeros, scale=3**-0.5))


def test_gradients(backend):
    given = arguments(batch=1, height=3, width=2, dim=2, pooled=2, grad=True)
    size = given.pop("kernel_size")
    names = tuple(given)
    assert torch.autograd.gradcheck(
        lambda *tensors: aggregated_attention(**dict(zip(names, tensors, strict=True)), kernel_size=size),
        (*given.values(),),
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_low_precision(backend, dtype, tolerance):
    given = arguments()
    want = aggregated_attention(**given)
    got = aggregated_attention(**{k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in given.items()})
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance)


def test_strided_tensors(backend):
    given = arguments()
    want = aggregated_attention(**given)
    given["q"] = given["q"].permute(4, 0, 2, 1, 3).contiguous().permute(1, 3, 2, 4, 0)
    given["pool_bias"] = given["pool_bias"].transpose(1, 2).contiguous().transpose(1, 2)
    given["local_weights"] = given["local_weights"].transpose(1, 3).contiguous().transpose(1, 3)
    given["v_pool"] = given["v_pool"].transpose(1, 3).contiguous().transpose(1, 3)
    given["local_bias"] = given["local_bias"].t().contiguous().t()
    torch.testing.assert_close(aggregated_attention(**given), want)


def test_no_images():
    assert aggregated_attention(**arguments(batch=0)).shape == (0, 5, 4, 2, 3)


@pytest.mark.parametrize("case", [{"height": 19, "width": 21, "dim": 20, "pooled": 17, "kernel_size": 5}, {"width": 1}])
@pytest.mark.parametrize("absent", [(), ("local_bias",), ("pool_bias", "local_weights")])
def test_gradients_of_larger_inputs_agree(backend, case, absent):
    given = arguments(heads=3, grad=True, **case)
    for name in absent:
        del given[name]
    tensors = [x for x in given.values() if isinstance(x, torch.Tensor)]
    got, want = aggregated_attention(**given), aggregated_attention(**given, backend="reference")
    weight = torch.randn_like(got)
    for a, b in zip(
        torch.autograd.grad((got * weight).sum(), tensors),
        torch.autograd.grad((want * weight).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(backend, batch):
    given = arguments(batch=batch, grad=True)
    out = aggregated_attention(**given)
    out.sum().backward()
    assert out.shape == given["q"].shape and given["pool_bias"].grad.shape == given["pool_bias"].shape


def test_compiled_twice(backend):
    compiled = torch.compile(aggregated_attention, backend="aot_eager", fullgraph=True, dynamic=False)
    for height in (4, 6):
        given = arguments(height=height, grad=True)
        tensors = [x for x in given.values() if isinstance(x, torch.Tensor)]
        got, want = compiled(**given), aggregated_attention(**given)
        torch.testing.assert_close(got, want)
        gradients = (torch.autograd.grad(y.square().sum(), tensors) for y in (got, want))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bias", [True, False])
def test_registered_operator_is_sound(bias):
    given = arguments(batch=1, height=3, grad=True)
    size = given.pop("kernel_size")
    tensors = [x if bias or "bias" not in name else None for name, x in given.items()]
    torch.library.opcheck(torch.ops.foveal.aggregated_attention.default, (*tensors, size, 0.5, None))


def test_exported_graph_holds_standard_operators():
    class Layer(torch.nn.Module):
        def forward(self, q, k, v, k_pool, v_pool):
            return aggregated_attention(q, k, v, k_pool, v_pool, 3)

    given = arguments()
    graph = torch.export.export(Layer(), tuple(given[x] for x in ("q", "k", "v", "k_pool", "v_pool"))).graph
    assert "foveal" not in str(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(2, 5, 4, 6)}, r"q must be \[N, H, W, heads, dim\], got shape \[2, 5, 4, 6\]"),
        ({"q": torch.zeros(2, 5, 4, 2, 3, dtype=torch.int64)}, "q must be floating-point, got torch.int64"),
        ({"k": torch.zeros(2, 5, 4, 3, 3)}, r"k must have shape \[2, 5, 4, 2, 3\] .* got \[2, 5, 4, 3, 3\]"),
        ({"v": torch.zeros(2, 5, 4, 2, 3)}, "v must have q's dtype torch.float64, got torch.float32"),
        ({"k_pool": torch.zeros(2, 6, 6)}, r"k_pool must be \[N, P, heads, dim\], got shape \[2, 6, 6\]"),
        ({"v_pool": torch.zeros(2, 5, 2, 3)}, r"v_pool must have shape \[2, 6, 2, 3\]"),
        ({"local_bias": torch.zeros(2, 25)}, r"local_bias must have shape \[2, 9\]"),
        ({"pool_bias": torch.zeros(2, 6, 20)}, r"pool_bias must have shape \[2, 20, 6\]"),
        ({"local_weights": torch.zeros(2, 5, 4, 9)}, r"local_weights must have shape \[2, 5, 4, 2, 9\]"),
        ({"kernel_size": 4}, "kernel_size must be odd and positive, got 4"),
        (
            {"k": torch.zeros(2, 5, 4, 2, 3, dtype=torch.float64, device="meta")},
            "k must be on q's device cpu, got meta",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        aggregated_attention(**arguments() | change)


@pytest.mark.parametrize(("queries", "ratio"), [(8, 2), (7, 1), (38, 8), (13, 4), (3, 8)])
def test_distances_are_those_to_the_pooled_pixels(queries, ratio):
    axis = make_axis(queries, queries, 57, ratio, torch.device("cpu"))
    position = torch.arange(queries).float()
    centres = F.adaptive_avg_pool1d(position[None], max(queries // ratio, 1))[0]
    far = (position[:, None] - centres) / 56 * 8
    assert axis.lookup.min() == 0 and axis.lookup.max() == len(axis.coords) - 1
    torch.testing.assert_close(axis.coords[axis.lookup], far.sign() * (far.abs() + 1).log() / torch.tensor(8.0).log())


@pytest.mark.parametrize(("size", "trained"), [((5, 8), None), ((6, 6), 8), ((2, 3), 8)])
def test_layer_weighs_each_position_by_one(size, trained):
    """With values that are the same everywhere, whatever is attended to gives them."""
    layer = AggregatedAttention(12, 3).double()
    with torch.no_grad():
        layer.kv.weight[12:].zero_()
        layer.learnable_tokens.zero_()
    x = torch.randn(2, *size, 12, dtype=torch.float64)
    out = layer(x, make_positions(*size, pretrained=8, ratio=2, trained=trained))
    inside = F.unfold(torch.ones(1, 1, *size, dtype=torch.float64), 3, padding=1).sum(1).min()
    assert inside < 9  # the window is cut at the borders, and the rest weighs one all the same
    torch.testing.assert_close(out, layer.proj(layer.kv.bias[12:]).expand_as(x))


def test_layer_counts_the_keys():
    positions = make_positions(4, 6, pretrained=8, ratio=2)
    keys = positions.log_length.exp()[..., 0, 0]
    torch.testing.assert_close(keys[0, 0], torch.tensor(4.0 + 2 * 3))
    torch.testing.assert_close(keys[1, 1], torch.tensor(9.0 + 2 * 3))
    assert make_positions(4, 6, pretrained=8, ratio=1).log_length.exp().round() == 24


def test_layer_under_autocast():
    layer = AggregatedAttention(8, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 4, 8), make_positions(4, 4, 4, 2)).dtype == torch.bfloat16


def test_layer_with_heads_that_do_not_fit():
    with pytest.raises(ValueError, match="dim must be a multiple of num_heads, got 7 and 2"):
        AggregatedAttention(7, 2)
