"""Convolution in window order against conv2d, and the order itself against a loop."""

import pytest
import torch
import torch.nn.functional as F

from foveal.ops import im2win_conv2d
from foveal.ops.im2win_conv2d import Im2winConv2d, im2win


def tensors(shape, out, kernel, dtype=torch.float64, bias=True):
    made = torch.randn(shape), torch.randn(out, shape[1], *kernel), torch.randn(out) if bias else None
    return [None if t is None else t.to(dtype).requires_grad_() for t in made]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "out", "kernel", "stride", "padding"),
    [
        ((2, 3, 9, 12), 5, (3, 3), 1, 0),
        ((1, 4, 7, 7), 17, (3, 3), 1, 1),
        ((3, 5, 23, 19), 33, (5, 5), 2, 2),
        ((2, 3, 31, 29), 9, (11, 11), 4, 0),
        ((1, 2, 14, 17), 3, (2, 6), (3, 1), (0, 3)),
        ((1, 40, 5, 6), 16, (1, 1), 1, 0),
        ((0, 2, 9, 9), 4, (3, 3), 1, 0),
    ],
)
def test_equals_conv2d(backend, shape, out, kernel, stride, padding, dtype):
    x, weight, bias = tensors(shape, out, kernel, dtype)
    y = im2win_conv2d(x, weight, bias, stride, padding)
    assert y.dtype == dtype
    exact = F.conv2d(x.double(), weight.double(), bias.double(), stride, padding)
    far = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.15}[dtype]
    torch.testing.assert_close(y.double(), exact, rtol=far, atol=far)


def test_a_window_is_contiguous():
    x = torch.randn(2, 3, 8, 7)
    rows = im2win(x, 3, 2, (1, 2))
    assert rows.shape == (2, 4, 11 * 3 * 3)
    padded = F.pad(x, (2, 2, 1, 1))
    for i in range(4):
        for j in range(0, 10, 3):
            window = rows[:, i, j * 9 : (j + 2) * 9].view(2, 2, 3, 3)  # kw = 2: [N, kw, kh, C]
            assert window.permute(0, 3, 2, 1).equal(padded[:, :, 2 * i : 2 * i + 3, j : j + 2])


def test_gradients(backend):
    x, weight, bias = tensors((2, 2, 6, 5), 3, (3, 2))
    assert torch.autograd.gradcheck(lambda *t: im2win_conv2d(*t, stride=(2, 1), padding=1), (x, weight, bias))


def test_opcheck():
    x, weight, bias = tensors((2, 3, 8, 9), 5, (3, 2), torch.float32)
    for given in (x, x.detach().to(memory_format=torch.channels_last)):
        torch.library.opcheck(torch.ops.foveal.im2win_conv2d.default, (given, weight, bias, [2, 1], [1, 0], None))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_and_slices(backend, layout):
    x, weight, _ = tensors((2, 6, 8, 9), 4, (3, 3))
    sliced = x.to(memory_format=layout)[:, 1:4, ::2]
    torch.testing.assert_close(im2win_conv2d(sliced, weight[:, 1:4]), F.conv2d(sliced, weight[:, 1:4]))


def test_autocast(backend):
    x, weight, bias = tensors((1, 3, 8, 8), 4, (3, 3), torch.float32)
    with torch.autocast(x.device.type, torch.bfloat16):
        y = im2win_conv2d(x, weight.bfloat16(), bias)
        y.sum().backward()
    torch.testing.assert_close(y.float(), F.conv2d(x, weight, bias), rtol=0.05, atol=0.2)
    assert x.grad.dtype == torch.float32


def test_the_layer_is_a_conv2d(backend):
    layer = Im2winConv2d(3, 5, (3, 2), stride=2, padding=(1, 0))
    plain = torch.nn.Conv2d(3, 5, (3, 2), stride=2, padding=(1, 0))
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 9, 10)
    torch.testing.assert_close(layer(x), plain(x))
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), plain(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 8, 8)}, r"x must be \[N, C, H, W\], got shape \[2, 8, 8\]"),
        ({"x": torch.zeros(1, 2, 8, 8, dtype=torch.int64)}, "x must be floating-point, got torch.int64"),
        ({"weight": torch.zeros(4, 3, 5, 5)}, r"weight must be \[C', 2, kh, kw\] for x .*, got \[4, 3, 5, 5\]"),
        ({"weight": torch.zeros(4, 2, 3, 3).double()}, "weight must have x's dtype torch.float32, got torch.float64"),
        ({"weight": torch.zeros(4, 2, 3, 3, device="meta")}, "weight must be on x's device cpu, got meta"),
        ({"bias": torch.zeros(1)}, r"bias must be \[4\], got shape \[1\]"),
        ({"stride": (1, 0)}, "stride must be an integer of at least 1, or two of them"),
        ({"padding": -1}, "padding must be an integer of at least 0"),
        ({"weight": torch.zeros(4, 2, 9, 3)}, r"on H it covers 9 pixels, and x \[1, 2, 8, 8\] with padding 0 has 8"),
        ({"weight": torch.zeros(4, 2, 3, 0)}, "the kernel must fit: on W"),
    ],
)
def test_mistakes_are_named(change, message):
    good = {"x": torch.zeros(1, 2, 8, 8), "weight": torch.zeros(4, 2, 3, 3)}
    with pytest.raises(ValueError, match=message):
        im2win_conv2d(**{**good, **change})
