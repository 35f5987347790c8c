"""Large-kernel depthwise convolution against conv2d and against a loop."""

import pytest
import torch
import torch.nn.functional as F

from foveal.ops import large_kernel_depthwise_conv2d
from foveal.ops.large_kernel_depthwise_conv2d import LargeKernelDepthwiseConv2d


def tensors(shape, kernel, dtype=torch.float64, bias=True):
    channels = shape[1]
    made = torch.randn(shape), torch.randn(channels, 1, *kernel), torch.randn(channels) if bias else None
    return [None if t is None else t.to(dtype).requires_grad_() for t in made]


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation"),
    [
        ((2, 3, 9, 12), (3, 3), 1, None, 1),
        ((1, 4, 7, 7), (13, 13), 1, None, 1),
        ((1, 2, 11, 8), (31, 5), 1, None, 1),
        ((2, 2, 10, 13), (7, 5), 2, None, 1),
        ((1, 2, 14, 17), (5, 7), (1, 2), (2, 0), (2, 1)),
        ((1, 2, 9, 9), (3, 3), 1, 0, 4),
        ((0, 2, 9, 9), (5, 5), 1, None, 1),
        ((1, 9, 40, 37), (51, 3), 1, None, 1),
        ((2, 3, 14, 14), (31, 31), 1, None, 1),
        ((1, 2, 25, 30), (7, 13), 2, None, (2, 3)),
        ((2, 2, 30, 31), (5, 7), (3, 2), (7, 9), (2, 4)),
        ((1, 2, 6, 7), (1, 3), (2, 1), (2, 5), 1),
    ],
)
def test_equals_conv2d(backend, shape, kernel, stride, padding, dilation):
    x, weight, bias = tensors(shape, kernel)
    y = large_kernel_depthwise_conv2d(x, weight, bias, stride, padding, dilation)
    steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    same = tuple(d * (k // 2) for d, k in zip(steps, kernel, strict=True))
    want = F.conv2d(x, weight, bias, stride, same if padding is None else padding, dilation, shape[1])
    torch.testing.assert_close(y, want)
    if padding is None and stride == 1:
        assert y.shape == x.shape
    grad = torch.randn_like(y)
    for mine, exact in zip(*(torch.autograd.grad(z, (x, weight, bias), grad) for z in (y, want)), strict=True):
        torch.testing.assert_close(mine, exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_types(backend, dtype):
    x, weight, bias = tensors((3, 2, 35, 18), (13, 7), dtype)
    y = large_kernel_depthwise_conv2d(x, weight, bias, stride=(1, 2))
    grad = torch.randn_like(y)
    exact = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    want = F.conv2d(*exact, (1, 2), (6, 3), groups=2)
    got = y, *torch.autograd.grad(y, (x, weight, bias), grad)
    for mine, other in zip(got, (want, *torch.autograd.grad(want, exact, grad.double())), strict=True):
        assert mine.dtype == dtype
        far = (8 if dtype.itemsize == 2 else 64) * torch.finfo(dtype).eps * other.abs().max().item()
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=far)


def test_is_its_definition(backend):
    x, weight, bias = tensors((1, 2, 6, 5), (3, 5))
    y = large_kernel_depthwise_conv2d(x, weight, bias, stride=2, dilation=(2, 1))
    padded = F.pad(x, (2, 2, 2, 2))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = padded[0, :, 2 * i : 2 * i + 5 : 2, 2 * j : 2 * j + 5]
            torch.testing.assert_close(y[0, :, i, j], (window * weight[:, 0]).sum((1, 2)) + bias)


def test_gradients(backend):
    x, weight, bias = tensors((1, 2, 5, 6), (3, 7))
    assert torch.autograd.gradcheck(large_kernel_depthwise_conv2d, (x, weight, bias))


def test_gradients_of_some(backend):
    x, weight, bias = (t.detach() for t in tensors((2, 3, 8, 9), (5, 3)))
    for chosen in range(3):
        inputs = [x.clone(), weight.clone(), bias.clone()]
        inputs[chosen].requires_grad_()
        got, want = (
            torch.autograd.grad(y.square().sum(), inputs[chosen])[0]
            for y in (
                large_kernel_depthwise_conv2d(*inputs, stride=2),
                F.conv2d(*inputs, 2, (2, 1), groups=3),
            )
        )
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(dtype):
    x, weight, bias = tensors((2, 3, 8, 9), (5, 3), dtype)
    op = torch.ops.foveal.large_kernel_depthwise_conv2d.default
    for given in (x, x.detach().to(memory_format=torch.channels_last)):
        torch.library.opcheck(op, (given, weight, bias, [2, 1], [2, 1], [1, 1], None))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_and_slices(backend, layout):
    x, weight, _ = tensors((2, 6, 8, 9), (5, 5))
    sliced = x.to(memory_format=layout)[:, 1:4]
    got = large_kernel_depthwise_conv2d(sliced, weight[1:4])
    torch.testing.assert_close(got, large_kernel_depthwise_conv2d(x, weight)[:, 1:4])
    whole = x.detach().to(memory_format=layout)
    y = large_kernel_depthwise_conv2d(whole, weight)
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y, F.conv2d(x, weight, None, 1, 2, groups=6))


def test_autocast_and_bfloat16(backend):
    x, weight, bias = tensors((1, 3, 8, 8), (5, 5), torch.float32)
    want = large_kernel_depthwise_conv2d(x, weight, bias)
    with torch.autocast(x.device.type, torch.bfloat16):
        torch.testing.assert_close(large_kernel_depthwise_conv2d(x, weight, bias).float(), want, rtol=0.05, atol=0.1)
        large_kernel_depthwise_conv2d(x.bfloat16(), weight, bias).sum().backward()
    low = large_kernel_depthwise_conv2d(*(t.bfloat16() for t in (x, weight, bias)))
    torch.testing.assert_close(low.float(), want, rtol=0.05, atol=0.1)


def test_the_layer_is_a_depthwise_conv2d(backend):
    layer = LargeKernelDepthwiseConv2d(4, (7, 5), dilation=2)
    plain = torch.nn.Conv2d(4, 4, (7, 5), padding=(6, 4), dilation=2, groups=4)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(1, 4, 9, 10)
    torch.testing.assert_close(layer(x), plain(x))
    assert layer.padding == plain.padding
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), plain(x))
    with pytest.raises(ValueError, match="odd, got 4"):
        LargeKernelDepthwiseConv2d(4, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 8, 8)}, r"x must be \[N, C, H, W\], got shape \[2, 8, 8\]"),
        ({"x": torch.zeros(1, 2, 8, 8, dtype=torch.int64)}, "x must be floating-point, got torch.int64"),
        ({"weight": torch.zeros(3, 1, 5, 5)}, r"weight must be \[2, 1, kh, kw\] for x .*, got \[3, 1, 5, 5\]"),
        ({"weight": torch.zeros(2, 1, 5, 4)}, r"odd kh and kw, got shape \[2, 1, 5, 4\]"),
        ({"weight": torch.zeros(2, 1, 5, 5).double()}, "weight must have x's dtype torch.float32, got torch.float64"),
        ({"weight": torch.zeros(2, 1, 5, 5, device="meta")}, "weight must be on x's device cpu, got meta"),
        ({"bias": torch.zeros(1)}, r"bias must be \[2\], got shape \[1\]"),
        ({"stride": 0}, "stride must be an integer of at least 1, or two of them, got 0"),
        ({"dilation": (1, 1, 1)}, "dilation must be"),
        ({"padding": -1}, "padding must be an integer of at least 0"),
        ({"padding": 0, "dilation": 2}, r"on H it covers 9 pixels, and x \[1, 2, 8, 8\] with padding 0 has 8"),
    ],
)
def test_mistakes_are_named(change, message):
    good = {"x": torch.zeros(1, 2, 8, 8), "weight": torch.zeros(2, 1, 5, 5)}
    with pytest.raises(ValueError, match=message):
        large_kernel_depthwise_conv2d(**{**good, **change})
