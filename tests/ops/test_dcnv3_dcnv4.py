"""DCNv3 and DCNv4 against a depthwise deformable convolution of torchvision, and their layers."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from foveal.ops import dcnv3, dcnv4
from foveal.ops.dcnv3 import DCNv3
from foveal.ops.dcnv4 import DCNv4

# shape, kernel, stride, padding, dilation, groups, scale, middle tap removed
CASES = [
    ((2, 6, 7, 6), (3, 3), 1, 1, 1, 2, 1.0, False),
    ((1, 9, 8, 4), (3, 3), 2, 1, 1, 4, 0.5, True),
    ((2, 8, 7, 6), (2, 3), (1, 2), (0, 2), (3, 2), 3, 2.0, False),
    ((0, 5, 5, 4), (3, 3), 1, 1, 1, 1, 1.0, False),
]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def tensors(shape, kernel, stride, padding, dilation, groups, _, removed):
    torch.manual_seed(0)
    image = torch.zeros(1, 1, *shape[1:3])
    size = F.conv2d(image, torch.zeros(1, 1, *kernel), None, stride, padding, dilation).shape[2:]
    points = groups * (kernel[0] * kernel[1] - removed)
    made = torch.randn(shape), 2 * torch.randn(shape[0], *size, 2 * points), torch.rand(shape[0], *size, points)
    return [t.double().requires_grad_() for t in made]


def by_torchvision(x, offset, weight, kernel, stride, padding, dilation, groups, scale, removed):
    """A depthwise kernel of ones whose offsets carry the scale, taps in rows instead of columns."""
    taps = [(b, a) for b in range(kernel[1]) for a in range(kernel[0])]
    kept = [tap for tap in taps if not removed or tap != (kernel[1] // 2, kernel[0] // 2)]
    offset, weight = offset.unflatten(-1, (groups, -1, 2)), weight.unflatten(-1, (groups, -1))
    half = [d * (k - 1) // 2 for d, k in zip(pair(dilation), kernel, strict=True)]
    moves = torch.zeros(*offset.shape[:4], *kernel, 2, dtype=x.dtype)
    masks = torch.zeros(*weight.shape[:4], *kernel, dtype=x.dtype)
    for number, (b, a) in enumerate(kept):
        for axis, place in ((0, a), (1, b)):
            tap = place * pair(dilation)[axis] - half[axis]
            moves[..., a, b, axis] = (tap + offset[..., number, 1 - axis]) * scale - tap
        masks[..., a, b] = weight[..., number]
    moves, masks = (t.flatten(3).permute(0, 3, 1, 2) for t in (moves, masks))
    ones = torch.ones(x.shape[3], 1, *kernel, dtype=x.dtype)
    y = torchvision.ops.deform_conv2d(x.permute(0, 3, 1, 2), moves, ones, None, stride, padding, dilation, masks)
    return y.permute(0, 2, 3, 1)


@pytest.mark.parametrize("case", CASES)
def test_equals_a_depthwise_deformable_convolution(backend, case):
    inputs = tensors(*case)
    got, want = dcnv3(*inputs, *case[1:-1]), by_torchvision(*inputs, *case[1:])
    torch.testing.assert_close(got, want)
    grad = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, inputs, grad), torch.autograd.grad(want, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(dcnv4(*inputs, *case[1:-1]), got)


def test_gradients(backend):
    case = ((1, 3, 4, 4), (2, 2), 1, 1, 1, 2, 0.7, False)
    assert torch.autograd.gradcheck(lambda *t: dcnv3(*t, *case[1:-1]), tensors(*case))


def test_slices_low_precision_and_autocast(backend):
    case = CASES[0]
    inputs = [t.detach().float() for t in tensors(*case)]
    want = dcnv3(*inputs, *case[1:-1])
    apart = [torch.stack([t, t], -1)[..., 0] for t in inputs]
    torch.testing.assert_close(dcnv3(*apart, *case[1:-1]), want)
    low = [t.bfloat16() for t in inputs]
    got = dcnv3(*low, *case[1:-1])
    exact = dcnv3(*(t.double() for t in low), *case[1:-1])
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), exact, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        got = dcnv3(low[0], *inputs[1:], *case[1:-1])
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)


def random_layer(layer):
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.double().eval()


@pytest.mark.parametrize("options", [{}, {"remove_center": True, "norm_layer": "BN", "center_feature_scale": True}])
def test_dcnv3_layer_is_its_definition(backend, options):
    layer = random_layer(DCNv3(8, 3, 5, group=2, offset_scale=0.5, **options))
    x = torch.randn(2, 5, 6, 8).double()
    seen = layer.dw_conv[0](x.permute(0, 3, 1, 2))
    if options:
        norm = layer.dw_conv[1][0]
        seen = (seen * norm.weight.view(-1, 1, 1) / (1 + 1e-5) ** 0.5 + norm.bias.view(-1, 1, 1)).permute(0, 2, 3, 1)
    else:
        norm = layer.dw_conv[1][1]
        seen = F.layer_norm(seen.permute(0, 2, 3, 1), [8], norm.weight, norm.bias, 1e-6)
    seen = F.gelu(seen)
    weight = layer.mask(seen).view(2, 5, 6, 2, -1).softmax(-1).flatten(3)
    projected = layer.input_proj(x)
    y = by_torchvision(projected, layer.offset(seen), weight, (3, 3), 1, 1, 1, 2, 0.5, bool(options))
    if options:
        share = seen @ layer.center_feature_scale_proj_weight.T + layer.center_feature_scale_proj_bias
        share = share.sigmoid()[..., [0, 0, 0, 0, 1, 1, 1, 1]]
        y = y * (1 - share) + projected * share
    torch.testing.assert_close(layer(x), layer.output_proj(y))


def test_dcnv3_layer_has_the_official_keys():
    keys = {"dw_conv.0", "dw_conv.1.1", "offset", "mask", "input_proj", "output_proj"}
    wanted = {f"{key}.{kind}" for key in keys for kind in ("weight", "bias")}
    wanted |= {"center_feature_scale_proj_weight", "center_feature_scale_proj_bias"}
    assert set(DCNv3(8, group=2, center_feature_scale=True).state_dict()) == wanted
    assert "dw_conv.1.0.running_mean" in DCNv3(8, group=2, norm_layer="BN").state_dict()


@pytest.mark.parametrize("options", [{}, {"dw_kernel_size": 3, "center_feature_scale": True, "remove_center": True}])
@pytest.mark.parametrize("pointwise", [True, False])
def test_dcnv4_layer_is_its_definition(backend, options, pointwise):
    layer = random_layer(DCNv4(8, group=2, output_bias=False, without_pointwise=not pointwise, **options))
    x = torch.randn(2, 30, 8).double()
    value = (layer.value_proj(x) if pointwise else x).view(2, 5, 6, 8)
    seen = x.view(2, 5, 6, 8)
    if options:
        seen = layer.offset_mask_dw(seen.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    taps = 8 if options else 9
    packed = layer.offset_mask(seen)
    assert packed.shape[-1] == (48 if options else 56)
    each = packed[..., : 6 * taps].reshape(2, 5, 6, 2, 3 * taps)
    offset, weight = each[..., : 2 * taps].flatten(3), each[..., 2 * taps :].flatten(3)
    y = by_torchvision(value, offset, weight, (3, 3), 1, 1, 1, 2, 1.0, bool(options))
    if options:
        share = y @ layer.center_feature_scale_proj_weight.T + layer.center_feature_scale_proj_bias
        share = share.sigmoid()[..., [0, 0, 0, 0, 1, 1, 1, 1]]
        y = y * (1 - share) + value * share
    y = y.reshape(2, 30, 8)
    torch.testing.assert_close(layer(x, (5, 6)), layer.output_proj(y) if pointwise else y)
    with pytest.raises(ValueError, match=r"shape must have the 30 pixels of x \[2, 30, 8\], got 5 and 5"):
        layer(x)


@pytest.mark.parametrize("made", [DCNv3, DCNv4])
def test_layers_refuse_mistakes(made):
    with pytest.raises(ValueError, match="channels must be a multiple of group, got 8 and 3"):
        made(8, group=3)
    with pytest.raises(ValueError, match="kernel_size must be odd with remove_center, got 4"):
        made(8, kernel_size=4, remove_center=True)


@pytest.mark.parametrize(
    ("option", "message"), [({"act_layer": "Tanh"}, "one of ReLU"), ({"norm_layer": "GN"}, "LN or BN")]
)
def test_dcnv3_layer_refuses_unknown_parts(option, message):
    with pytest.raises(ValueError, match=message):
        DCNv3(8, group=2, **option)


@pytest.mark.parametrize("op", [dcnv3, dcnv4])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(1, 8, 8)}, r"x must be \[N, H, W, C\], got shape \[1, 8, 8\]"),
        ({"x": torch.zeros(1, 8, 8, 4).long()}, "x must be floating-point"),
        ({"groups": 3}, "groups must divide the 4 channels of x, got 3"),
        ({"weight": torch.zeros(1, 8, 8, 12)}, r"weight must be \[1, 8, 8\] and 18 or 16 taps of all groups"),
        ({"offset": torch.zeros(1, 8, 8, 32)}, r"offset must be \[1, 8, 8, 36\], twice weight's channels"),
        ({"offset": torch.zeros(1, 8, 8, 36).double()}, "offset must have x's dtype torch.float32"),
        ({"weight": torch.zeros(1, 8, 8, 18, device="meta")}, "weight must be on x's device cpu, got meta"),
        ({"kernel_size": 0}, "kernel_size must be an integer of at least 1"),
        ({"padding": 0, "dilation": 4}, "on H it covers 9 pixels"),
    ],
)
def test_mistakes_are_named(op, change, message):
    good = {"x": torch.zeros(1, 8, 8, 4), "offset": torch.zeros(1, 8, 8, 36), "weight": torch.zeros(1, 8, 8, 18)}
    with pytest.raises(ValueError, match=message):
        op(**{"kernel_size": 3, "padding": 1, "groups": 2, **good, **change})
