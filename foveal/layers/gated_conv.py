"""HorNet's recursive gated convolution (Rao et al., NeurIPS 2022, arXiv:2207.14284), for the backbone and the neck."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.layers.norm import LayerNorm2d
from foveal.layers.spectrum import filter_spectrum
from foveal.ops.large_kernel_depthwise_conv2d import LargeKernelDepthwiseConv2d

SCALE = 1 / 3


class GlobalLocalFilter(nn.Module):
    """Half of the channels through a depthwise 3x3 convolution, half through a product with the whole spectrum.

    Args:
        dim: C, even.
        filter_size: Rows and columns of the filter, those of the half spectrum of a real map: [h, w // 2 + 1].
    """

    def __init__(self, dim: int, filter_size: tuple[int, int]) -> None:
        super().__init__()
        self.dw = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, bias=False, groups=dim // 2)
        self.complex_weight = nn.Parameter(torch.empty(dim // 2, *filter_size, 2))
        nn.init.trunc_normal_(self.complex_weight, std=0.02)
        self.pre_norm = LayerNorm2d(dim)
        self.post_norm = LayerNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        local, spectral = self.pre_norm(x).chunk(2, 1)
        # there are no half-precision transforms of every size
        image = spectral.to(torch.promote_types(spectral.dtype, torch.float32))
        weight = resize_filter(self.complex_weight.to(image.dtype), (image.shape[2], image.shape[3] // 2 + 1))
        image = filter_spectrum(image, weight)
        # the halves alternate channel by channel
        return self.post_norm(torch.stack((self.dw(local), image.to(spectral.dtype)), 2).flatten(1, 2))


def resize_filter(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize spectral filters [C, h, w, 2] to [C, *size, 2] bilinearly, corners on corners."""
    if weight.shape[1:3] == size:
        return weight
    resized = F.interpolate(weight.permute(3, 0, 1, 2), size, mode="bilinear", align_corners=True)
    return resized.permute(1, 2, 3, 0).contiguous()


class RecursiveGatedConv(nn.Module):
    """The gated convolution g^n: C / 2^(n - 1) channels, gated and widened n - 1 times until they are C.

    Args:
        dim: C, a multiple of 2^(n - 1).
        order: n.
        filter_size: Of a `GlobalLocalFilter` in place of the depthwise convolution; None: the convolution.
        kernel_size: Of the depthwise convolution.
        scale: Factor of the gates.
        in_channels: Of the input. None: C.
    """

    def __init__(
        self,
        dim: int,
        order: int,
        filter_size: tuple[int, int] | None,
        kernel_size: int = 7,
        scale: float = SCALE,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.dims = [dim // 2**i for i in reversed(range(order))]
        total = sum(self.dims)
        self.proj_in = nn.Conv2d(dim if in_channels is None else in_channels, 2 * dim, 1)
        self.dwconv: nn.Module = (
            LargeKernelDepthwiseConv2d(total, kernel_size)
            if filter_size is None
            else GlobalLocalFilter(total, filter_size)
        )
        self.proj_out: nn.Module = nn.Conv2d(dim, dim, 1)
        self.pws = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(self.dims))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, C, H, W]."""
        x, gates = self.proj_in(x).split((self.dims[0], sum(self.dims)), 1)
        first, *rest = (self.dwconv(gates) * self.scale).split(self.dims, 1)
        x = x * first
        for widen, gate in zip(self.pws, rest, strict=True):
            x = widen(x) * gate
        return self.proj_out(x)
