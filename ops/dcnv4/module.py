"""DCNv4 as a layer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.dcnv3.module import mix_centre
from foveal.ops.dcnv4.functional import dcnv4


class DCNv4(nn.Module):
    """The official layer of that name, with its keys and arguments; it works on a row of pixels.

    arXiv:2401.06197, https://github.com/OpenGVLab/DCNv4.

    Args:
        channels: C.
        kernel_size: Taps on an axis.
        stride: 1 keeps the number of pixels, which the layer relies on.
        pad: Zeros on each side.
        dilation: At least 1.
        group: Groups of channels with places of their own; divides C.
        offset_scale: Factor of the offsets and of the taps' distance.
        dw_kernel_size: Of a depthwise convolution before offsets and weights are predicted, odd; None: without.
        center_feature_scale: Mix the result with the projected input, by a share predicted for each group.
        remove_center: Leave the middle tap out; ``kernel_size`` is odd then.
        output_bias: A bias in the last projection.
        without_pointwise: Leave both projections out.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        channels: int = 64,
        kernel_size: int = 3,
        stride: int = 1,
        pad: int = 1,
        dilation: int = 1,
        group: int = 4,
        offset_scale: float = 1.0,
        dw_kernel_size: int | None = None,
        center_feature_scale: bool = False,
        remove_center: bool = False,
        output_bias: bool = True,
        without_pointwise: bool = False,
    ) -> None:
        super().__init__()
        if channels % group:
            raise ValueError(f"channels must be a multiple of group, got {channels} and {group}")
        if remove_center and kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd with remove_center, got {kernel_size}")
        self.kernel_size = kernel_size
        self.stride = stride
        self.pad = pad
        self.dilation = dilation
        self.group = group
        self.offset_scale = offset_scale
        self.taps = kernel_size**2 - int(remove_center)
        self.offset_mask_dw = None
        if dw_kernel_size is not None:
            half = (dw_kernel_size - 1) // 2
            self.offset_mask_dw = nn.Conv2d(channels, channels, dw_kernel_size, padding=half, groups=channels)
        # the official kernel reads eight numbers at a time
        self.offset_mask = nn.Linear(channels, math.ceil(group * self.taps * 3 / 8) * 8)
        self.value_proj: nn.Linear | None = None
        self.output_proj: nn.Linear | None = None
        if not without_pointwise:
            self.value_proj = nn.Linear(channels, channels)
            self.output_proj = nn.Linear(channels, channels, bias=output_bias)
        self.center_feature_scale_proj_weight = None
        self.center_feature_scale_proj_bias = None
        if center_feature_scale:
            self.center_feature_scale_proj_weight = nn.Parameter(torch.zeros(group, channels))
            self.center_feature_scale_proj_bias = nn.Parameter(torch.zeros(group))
        self.init_weights()

    def init_weights(self) -> None:
        """Start without offsets and with weights of zero, as the official layer does."""
        nn.init.zeros_(self.offset_mask.weight)
        nn.init.zeros_(self.offset_mask.bias)
        for layer in (self.value_proj, self.output_proj):
            if layer is not None:
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """Map the pixels [N, H * W, C] to the same shape.

        Args:
            x: Pixels, row by row.
            shape: H and W; None: a square.

        Returns:
            As ``x``.

        Raises:
            ValueError: If ``shape`` has another number of pixels than ``x``.
        """
        batch, length, channels = x.shape
        height, width = (math.isqrt(length),) * 2 if shape is None else shape
        if height * width != length:
            raise ValueError(f"shape must have the {length} pixels of x {list(x.shape)}, got {height} and {width}")
        value = (x if self.value_proj is None else self.value_proj(x)).reshape(batch, height, width, channels)
        seen = x.reshape(batch, height, width, channels)
        if self.offset_mask_dw is not None:
            seen = self.offset_mask_dw(seen.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        offset, weight = unpack(self.offset_mask(seen), self.group, self.taps)
        window = self.kernel_size, self.stride, self.pad, self.dilation
        y = dcnv4(value, offset, weight, *window, self.group, self.offset_scale)
        if self.center_feature_scale_proj_weight is not None:
            # predicted from the result, unlike in DCNv3
            share = F.linear(y, self.center_feature_scale_proj_weight, self.center_feature_scale_proj_bias)
            y = mix_centre(y, value, share)
        y = y.reshape(batch, length, channels)
        return y if self.output_proj is None else self.output_proj(y)


def unpack(offset_mask: Tensor, groups: int, taps: int) -> tuple[Tensor, Tensor]:
    """Part the official operator's input: for each group 2K offsets, then K weights; the rest is filling.

    Args:
        offset_mask: [N, H, W, at least groups * taps * 3].
        groups: Of channels.
        taps: K.

    Returns:
        offset [N, H, W, groups * K * 2] and weight [N, H, W, groups * K].
    """
    each = offset_mask[..., : groups * taps * 3].unflatten(-1, (groups, 3 * taps))
    return each[..., : 2 * taps].flatten(-2), each[..., 2 * taps :].flatten(-2)
