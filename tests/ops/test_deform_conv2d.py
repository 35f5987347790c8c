"""Deformable convolution against torchvision's and against conv2d."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from foveal.ops import deform_conv2d
from foveal.ops.deform_conv2d import DeformConv2d, chunks

# shape, outputs, kernel, groups, offset groups, masked, stride, padding, dilation
CASES = [
    ((2, 4, 7, 9), 6, (3, 3), 1, 1, True, 1, 1, 1),
    ((1, 4, 8, 5), 4, (3, 3), 2, 2, False, 2, 1, 1),
    ((2, 6, 9, 8), 4, (3, 2), 2, 3, True, (1, 2), (2, 0), (2, 1)),
    ((1, 4, 5, 5), 3, (1, 1), 1, 4, True, 1, 0, 1),
    ((0, 4, 6, 6), 2, (3, 3), 1, 1, True, 1, 1, 1),
]


def tensors(shape, outputs, kernel, groups, offset_groups, masked, stride, padding, dilation, dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(shape)
    weight = torch.randn(outputs, shape[1] // groups, *kernel)
    size = F.conv2d(x, weight, None, stride, padding, dilation, groups).shape[2:]
    taps = offset_groups * kernel[0] * kernel[1]
    # wide enough that some taps leave the image by more than a pixel
    offset = 2 * torch.randn(shape[0], 2 * taps, *size)
    mask = torch.rand(shape[0], taps, *size) if masked else None
    made = x, offset, weight, torch.randn(outputs), mask
    return [None if t is None else t.to(dtype).requires_grad_() for t in made]


@pytest.mark.parametrize("case", CASES)
def test_equals_torchvision(backend, case):
    x, offset, weight, bias, mask = tensors(*case)
    window = case[6:]
    got = deform_conv2d(x, offset, weight, bias, *window, mask)
    want = torchvision.ops.deform_conv2d(x, offset, weight, bias, *window, mask)
    torch.testing.assert_close(got, want)
    inputs = [t for t in (x, offset, weight, bias, mask) if t is not None]
    grad = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, inputs, grad), torch.autograd.grad(want, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_laid_out_as_the_compiler_is_told(backend, case):
    """torch.compile relies on the strides of the fake implementation."""
    x, offset, weight, _, mask = (None if t is None else t.detach() for t in tensors(*case))
    window = [v for value in case[6:] for v in ((value, value) if isinstance(value, int) else value)]
    arguments = (x, offset, mask, weight, window)
    y = torch.ops.foveal.deform_conv2d(*arguments, None)
    for gradient in torch.ops.foveal.deform_conv2d_backward(torch.ones_like(y), *arguments, None):
        assert gradient.is_contiguous()


def test_zero_offsets_are_a_convolution(backend):
    x, offset, weight, bias, _ = tensors(*CASES[1])
    got = deform_conv2d(x, torch.zeros_like(offset), weight, bias, 2, 1)
    torch.testing.assert_close(got, F.conv2d(x, weight, bias, 2, 1, groups=2))


def test_gradients(backend):
    x, offset, weight, bias, mask = tensors((1, 2, 4, 3), 2, (2, 2), 1, 1, True, 1, 1, 1)
    assert torch.autograd.gradcheck(lambda *t: deform_conv2d(*t[:4], 1, 1, 1, t[4]), (x, offset, weight, bias, mask))


def test_slices_low_precision_and_autocast(backend):
    x, offset, weight, bias, mask = (t.detach().float() for t in tensors(*CASES[0]))
    want = deform_conv2d(x, offset, weight, bias, 1, 1, 1, mask)
    apart = [torch.stack([t, t], -1)[..., 0] for t in (x, offset, weight, bias, mask)]
    torch.testing.assert_close(deform_conv2d(*apart[:4], 1, 1, 1, apart[4]), want)
    torch.testing.assert_close(deform_conv2d(x.to(memory_format=torch.channels_last), *apart[1:4], 1, 1, 1, mask), want)
    low = [t.bfloat16() for t in (x, offset, weight, bias, mask)]
    exact = deform_conv2d(*(t.double() for t in low[:4]), 1, 1, 1, low[4].double())
    got = deform_conv2d(*low[:4], 1, 1, 1, low[4])
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), exact, rtol=0.03, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        got = deform_conv2d(low[0], offset, weight, bias, 1, 1, 1, mask)
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.1)


def test_layer_has_the_keys_of_torchvisions():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 7)
    layer = DeformConv2d(4, 6, 3, padding=1, groups=2)
    peer = torchvision.ops.DeformConv2d(4, 6, 3, padding=1, groups=2)
    peer.load_state_dict(layer.state_dict())
    offset, mask = torch.randn(2, 18, 6, 7), torch.rand(2, 9, 6, 7)
    torch.testing.assert_close(layer(x, offset, mask), peer(x, offset, mask))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(4, 8, 8)}, r"x must be \[N, C, H, W\], got shape \[4, 8, 8\]"),
        ({"weight": torch.zeros(2, 3, 3, 3)}, r"weight must be \[O, C / groups, kh, kw\] for the 4 channels of x"),
        ({"weight": torch.zeros(3, 2, 3, 3)}, r"multiple of its 2 groups as outputs, got \[3, 2, 3, 3\]"),
        ({"weight": torch.zeros(2, 4, 3, 3).double()}, "weight must have x's dtype torch.float32, got torch.float64"),
        ({"offset": torch.zeros(1, 18, 7, 8)}, r"offset must be \[1, 18 \* offset groups, 8, 8\].*\[1, 18, 7, 8\]"),
        ({"offset": torch.zeros(1, 54, 8, 8)}, "the groups dividing 4 channels"),
        ({"offset": torch.zeros(1, 18, 8, 8, device="meta")}, "offset must be on x's device cpu, got meta"),
        ({"mask": torch.zeros(1, 18, 8, 8)}, r"mask must be \[1, 9, 8, 8\], half of offset's channels"),
        ({"mask": torch.zeros(1, 9, 8, 8).double()}, "mask must have x's dtype"),
        ({"bias": torch.zeros(3)}, r"bias must be \[2\], got shape \[3\]"),
        ({"stride": 0}, "stride must be an integer of at least 1"),
        ({"padding": 0, "dilation": 4}, r"on H it covers 9 pixels, and x \[1, 4, 8, 8\] with padding 0 has 8"),
    ],
)
def test_mistakes_are_named(change, message):
    good = {"x": torch.zeros(1, 4, 8, 8), "offset": torch.zeros(1, 18, 8, 8), "weight": torch.zeros(2, 4, 3, 3)}
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**{"padding": 1, **good, **change})


@pytest.mark.parametrize("which", range(5))
def test_gradient_of_one_input(backend, which):
    tensors = tensors_of(CASES[2])
    both = [t.detach().requires_grad_() for t in tensors]
    alone = [t.detach().requires_grad_(i == which) for i, t in enumerate(tensors)]
    for inputs in (both, alone):
        deform_conv2d(*inputs[:4], *CASES[2][6:], inputs[4]).square().sum().backward()
    torch.testing.assert_close(alone[which].grad, both[which].grad)


def tensors_of(case):
    return [t.detach() for t in tensors(*case)]


def test_compiled_twice(backend):
    compiled = torch.compile(deform_conv2d, backend="aot_eager", fullgraph=True, dynamic=False)
    for case in (CASES[0], CASES[2]):
        x, offset, weight, bias, mask = tensors_of(case)
        got = compiled(x, offset, weight, bias, *case[6:], mask)
        torch.testing.assert_close(got, deform_conv2d(x, offset, weight, bias, *case[6:], mask))


@pytest.mark.parametrize("masked", [True, False])
def test_registered_operator_is_sound(masked):
    x, offset, weight, _, mask = tensors((2, 4, 5, 4), 3, (2, 2), 1, 2, True, 1, 1, 1)
    arguments = (x, offset, mask if masked else None, weight, [1, 1, 1, 1, 1, 1], None)
    torch.library.opcheck(torch.ops.foveal.deform_conv2d.default, arguments)


def test_chunks_add_up(monkeypatch):
    # several chunks, the last of them short, over the border between two images
    monkeypatch.setattr(chunks, "CHUNK", 1 << 19)
    case = ((2, 32, 31, 33), 24, (3, 3), 2, 2, True, 1, 1, 1)
    tensors_in = tensors(*case, dtype=torch.float32)
    got = deform_conv2d(*tensors_in[:4], 1, 1, 1, tensors_in[4])
    want = deform_conv2d(*tensors_in[:4], 1, 1, 1, tensors_in[4], backend="reference")
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    grad = torch.randn_like(want)
    pairs = zip(*(torch.autograd.grad(y, tensors_in, grad) for y in (got, want)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_exported_graph_holds_standard_operators():
    class Layer(torch.nn.Module):
        def forward(self, x, offset, weight):
            return deform_conv2d(x, offset, weight)

    x, offset, weight, _, _ = tensors_of(((1, 4, 6, 6), 2, (3, 3), 1, 1, True, 1, 0, 1))
    assert "foveal" not in str(torch.export.export(Layer(), (x, offset, weight)).graph)
