"""Deformable attention against grid_sample, and the layer against a written-out one."""

import pytest
import torch
import torch.nn.functional as F

from foveal.ops import multi_scale_deformable_attention
from foveal.ops.multi_scale_deformable_attention import MultiScaleDeformableAttention

SHAPES = [(5, 7), (3, 4), (1, 2)]


def levels(shapes):
    sizes = torch.tensor([height * width for height, width in shapes])
    return torch.tensor(shapes), sizes.cumsum(0) - sizes


def tensors(batch=2, queries=6, heads=2, dim=3, points=2, shapes=SHAPES, dtype=torch.float64):
    torch.manual_seed(0)
    size = sum(height * width for height, width in shapes)
    value = torch.randn(batch, size, heads, dim, dtype=dtype, requires_grad=True)
    # a tenth of the points lie outside, some of them far
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, dtype=dtype) * 1.4 - 0.2
    locations = (locations * 1.01).requires_grad_()
    weights = torch.rand(batch, queries, heads, len(shapes), points, dtype=dtype, requires_grad=True)
    return value, *levels(shapes), locations, weights


def by_grid_sample(value, spatial_shapes, _, locations, weights):
    total = 0
    parts = value.split([h * w for h, w in spatial_shapes.tolist()], 1)
    for level, (height, width) in enumerate(spatial_shapes.tolist()):
        for head in range(value.shape[2]):
            image = parts[level][:, :, head].transpose(1, 2).unflatten(2, (height, width))
            read = F.grid_sample(image, 2 * locations[:, :, head, level] - 1, padding_mode="zeros", align_corners=False)
            read = (read * weights[:, None, :, head, level]).sum(-1).transpose(1, 2)
            total = total + F.pad(read.unsqueeze(2), (0, 0, head, value.shape[2] - 1 - head))
    return total.flatten(2)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_equals_grid_sample(backend, batch):
    arguments = tensors(batch)
    inputs = [arguments[0], arguments[3], arguments[4]]
    got, want = multi_scale_deformable_attention(*arguments), by_grid_sample(*arguments)
    torch.testing.assert_close(got, want)
    grad = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, inputs, grad), torch.autograd.grad(want, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients(backend):
    value, shapes, starts, locations, weights = tensors(1, 2, 2, 2, 2, [(3, 4), (2, 2)])
    assert torch.autograd.gradcheck(
        lambda v, at, w: multi_scale_deformable_attention(v, shapes, starts, at, w), (value, locations, weights)
    )


def test_slices_and_low_precision(backend):
    value, shapes, starts, locations, weights = (t.detach() for t in tensors())
    want = multi_scale_deformable_attention(value, shapes, starts, locations, weights)
    doubled = [torch.stack([t, t], -1)[..., 0] for t in (value, locations, weights)]
    torch.testing.assert_close(multi_scale_deformable_attention(doubled[0], shapes, starts, *doubled[1:]), want)
    low = [t.bfloat16() for t in (value, locations, weights)]
    exact = multi_scale_deformable_attention(low[0].double(), shapes, starts, low[1].double(), low[2].double())
    got = multi_scale_deformable_attention(low[0], shapes, starts, *low[1:])
    torch.testing.assert_close(got.double(), exact, rtol=0.01, atol=0.01)
    with torch.autocast("cpu", torch.bfloat16):
        got = multi_scale_deformable_attention(low[0], shapes, starts, locations.float(), weights.float())
    torch.testing.assert_close(got.double(), want, rtol=0.02, atol=0.04)


def test_a_point_that_is_no_number_reads_nothing(backend):
    value, shapes, starts, locations, weights = (t.detach() for t in tensors(1, 2))
    locations[:, 0] = float("nan")
    weights[:, 0] = 1
    locations[:, 1] = 1e30
    torch.testing.assert_close(
        multi_scale_deformable_attention(value, shapes, starts, locations, weights)[:, 1], torch.zeros(1, 6).double()
    )


def layer_and_inputs(references, **options):
    torch.manual_seed(0)
    layer = MultiScaleDeformableAttention(8, 2, 3, 2, dropout=0.0, **options).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    spatial_shapes, starts = levels(SHAPES)
    size = int(spatial_shapes.prod(1).sum())
    made = torch.randn(2, 4, 8), torch.randn(2, size, 8), torch.randn(2, 4, 8), torch.rand(2, 4, 3, references)
    query, value, pos, points = (t.double() for t in made)
    mask = torch.zeros(2, size, dtype=torch.bool)
    mask[1, -3:] = True
    return layer, query, value, pos, points, mask, spatial_shapes, starts


@pytest.mark.parametrize("references", [2, 4])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_layer_is_its_definition(backend, references, ratio):
    layer, query, value, pos, points, mask, shapes, starts = layer_and_inputs(
        references, batch_first=True, value_proj_ratio=ratio
    )
    kwargs = {"reference_points": points, "spatial_shapes": shapes, "level_start_index": starts}
    got = layer(query, None, value, None, pos, mask, **kwargs)
    values = layer.value_proj(value) * ~mask[..., None]
    offsets = layer.sampling_offsets(query + pos).view(2, 4, 2, 3, 2, 2)
    weights = layer.attention_weights(query + pos).view(2, 4, 2, 6).softmax(-1).view(2, 4, 2, 3, 2)
    for level, (height, width) in enumerate(SHAPES):
        if references == 2:
            offsets[:, :, :, level] /= torch.tensor([width, height])
        else:
            offsets[:, :, :, level] *= points[:, :, None, level, None, 2:] / 4
    at = points[:, :, None, :, None, :2] + offsets
    want = layer.output_proj(by_grid_sample(values.view(2, -1, 2, int(4 * ratio)), shapes, None, at, weights)) + query
    torch.testing.assert_close(got, want)
    layer.batch_first = False
    got = layer(query.transpose(0, 1), None, value.transpose(0, 1), None, pos.transpose(0, 1), mask, **kwargs)
    torch.testing.assert_close(got.transpose(0, 1), want)


def test_layer_starts_as_the_paper_says():
    layer = MultiScaleDeformableAttention(16, 4, 2, 3)
    offsets = layer.sampling_offsets.bias.view(4, 2, 3, 2)
    torch.testing.assert_close(offsets[1, 1], torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]))
    assert not layer.sampling_offsets.weight.any()
    assert not layer.attention_weights.weight.any()
    keys = {"sampling_offsets", "attention_weights", "value_proj", "output_proj"}
    assert {key.split(".")[0] for key in layer.state_dict()} == keys
    with pytest.raises(ValueError, match="multiples of num_heads 3, got 16 and 16"):
        MultiScaleDeformableAttention(16, 3)
    with pytest.raises(ValueError, match="norm_cfg and init_cfg must be None"):
        MultiScaleDeformableAttention(16, 4, norm_cfg={"type": "LN"})


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, lambda t: t[0], r"value must be \[N, S, heads, dim\], got shape \[49, 2, 3\]"),
        (0, lambda t: t.long(), "value must be floating-point, got torch.int64"),
        (0, lambda t: t[:, 1:], "spatial_shapes must have the 48 pixels of value together"),
        (1, lambda t: t[:, :1], r"spatial_shapes must be \[L, 2\], got shape \[3, 1\]"),
        (1, lambda t: t.int(), "spatial_shapes must be torch.int64, got torch.int32"),
        (2, lambda t: t[1:], r"level_start_index must be \[3\], got shape \[2\]"),
        (2, lambda t: t + 1, "level_start_index must be 0 at 0"),
        (3, lambda t: t[:, :, :1], r"sampling_locations must be \[2, Q, 2, 3, P, 2\]"),
        (3, lambda t: t.float(), "sampling_locations must have value's dtype torch.float64, got torch.float32"),
        (4, lambda t: t[..., :1], r"attention_weights must be \[2, 6, 2, 3, 2\], as sampling_locations"),
        (4, lambda t: t.to("meta"), "attention_weights must be on value's device cpu, got meta"),
    ],
)
def test_mistakes_are_named(place, change, message):
    arguments = [t.detach() for t in tensors()]
    arguments[place] = change(arguments[place])
    with pytest.raises(ValueError, match=message):
        multi_scale_deformable_attention(*arguments)


def test_layer_refuses_other_reference_points():
    layer, query, value, _, points, _, shapes, starts = layer_and_inputs(2, batch_first=True)
    with pytest.raises(ValueError, match=r"must end in 2 or 4 numbers, got shape \[2, 4, 3, 1\]"):
        layer(query, None, value, reference_points=points[..., :1], spatial_shapes=shapes, level_start_index=starts)


@pytest.mark.parametrize("which", range(3))
def test_gradient_of_one_input(backend, which):
    value, shapes, starts, locations, weights = (t.detach() for t in tensors())
    both = [t.clone().requires_grad_() for t in (value, locations, weights)]
    alone = [t.clone().requires_grad_(i == which) for i, t in enumerate((value, locations, weights))]
    for inputs in (both, alone):
        multi_scale_deformable_attention(inputs[0], shapes, starts, *inputs[1:]).square().sum().backward()
    torch.testing.assert_close(alone[which].grad, both[which].grad)


def test_compiled_twice(backend):
    compiled = torch.compile(multi_scale_deformable_attention, backend="aot_eager", fullgraph=True, dynamic=False)
    for queries in (3, 5):
        arguments = [t.detach() for t in tensors(queries=queries, dim=16, dtype=torch.float32)]
        torch.testing.assert_close(compiled(*arguments), multi_scale_deformable_attention(*arguments))


def test_registered_operator_is_sound():
    value, shapes, starts, locations, weights = tensors(1, 2)
    pixels = (locations.detach() * 4).requires_grad_()
    arguments = value, shapes, starts, pixels, weights, "multi_scale_deformable_attention", None
    torch.library.opcheck(torch.ops.foveal.weighted_samples.default, arguments)


def test_exported_graph_holds_standard_operators():
    class Layer(torch.nn.Module):
        def forward(self, *arguments):
            return multi_scale_deformable_attention(*arguments)

    arguments = tuple(t.detach() for t in tensors())
    assert "foveal" not in str(torch.export.export(Layer(), arguments).graph)
