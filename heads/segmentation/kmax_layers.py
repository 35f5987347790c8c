"""What both halves of kMaX-DeepLab are made of (Yu et al., ECCV 2022, arXiv:2207.04044), with official constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str | None, type[nn.Module]] = {None: nn.Identity, "gelu": nn.GELU}


def norm(channels: int) -> nn.SyncBatchNorm:
    """Return batch normalisation with the constants of the official code, for any number of dimensions."""
    return nn.SyncBatchNorm(channels, eps=1e-3, momentum=0.01)


def truncated_normal(weight: Tensor, std: float) -> None:
    """Fill with a normal distribution that is cut off at two deviations, as TensorFlow does."""
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class ConvBN(nn.Module):
    """Convolution, norm and activation; keys ``conv`` and ``norm``.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Odd; the size is kept.
        dims: 2 for maps [N, C, H, W], 1 for queries [N, C, L].
        bias: Of the convolution.
        normalise: Whether there is the norm.
        act: ``gelu`` or None.
        dilation: Of the convolution.
        depthwise: One kernel a channel.
        std: Deviation of the first weights; None: by the number of channels, evenly distributed where ``depthwise``.
        norm_init: First weights of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        dims: int = 2,
        bias: bool = False,
        normalise: bool = True,
        act: str | None = "gelu",
        dilation: int = 1,
        depthwise: bool = False,
        std: float | None = None,
        norm_init: float = 1.0,
    ) -> None:
        super().__init__()
        kind: Any = nn.Conv2d if dims == 2 else nn.Conv1d
        groups, padding = (in_channels if depthwise else 1), dilation * (kernel_size // 2)
        self.conv = kind(
            in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, groups=groups, bias=bias
        )
        self.norm: nn.Module = nn.Identity()
        if normalise:
            self.norm = normalisation = norm(out_channels)
            nn.init.constant_(normalisation.weight, norm_init)
        self.act = ACTIVATIONS[act]()
        if depthwise:
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            truncated_normal(self.conv.weight, math.sqrt(2 / in_channels) if std is None else std)
        if bias:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, ...] to [N, out_channels, ...]."""
        return self.act(self.norm(self.conv(x)))


def enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize [N, C, h, w] bilinearly; corners are aligned where w is odd, as with images of 32 n + 1 pixels."""
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=x.shape[-1] % 2 == 1)
