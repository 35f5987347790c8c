"""DCNv3 as a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.dcnv3.functional import dcnv3

ACTIVATIONS: dict[str, type[nn.Module]] = {"ReLU": nn.ReLU, "SiLU": nn.SiLU, "GELU": nn.GELU}


class Permute(nn.Module):
    """Reorder axes inside a Sequential."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """Reorder the axes of ``x``."""
        return x.permute(self.axes)


class DCNv3(nn.Module):
    """InternImage's layer, its keys and arguments: a depthwise convolution says where to read and with what weight.

    arXiv:2211.05778, https://github.com/OpenGVLab/InternImage.

    Args:
        channels: C.
        kernel_size: Taps on an axis.
        dw_kernel_size: Of the depthwise convolution, odd; None: ``kernel_size``.
        stride: 1, or the output is smaller than what the offsets are made for.
        pad: Zeros on each side.
        dilation: At least 1.
        group: Groups of channels with places of their own; divides C.
        offset_scale: Factor of the offsets and of the taps' distance.
        act_layer: ReLU, SiLU or GELU.
        norm_layer: LN or BN.
        center_feature_scale: Mix the result with the projected input, by a share learnt for each group.
        remove_center: Leave the middle tap out; ``kernel_size`` is odd then.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        channels: int = 64,
        kernel_size: int = 3,
        dw_kernel_size: int | None = None,
        stride: int = 1,
        pad: int = 1,
        dilation: int = 1,
        group: int = 4,
        offset_scale: float = 1.0,
        act_layer: str = "GELU",
        norm_layer: str = "LN",
        center_feature_scale: bool = False,
        remove_center: bool = False,
    ) -> None:
        super().__init__()
        if channels % group:
            raise ValueError(f"channels must be a multiple of group, got {channels} and {group}")
        if remove_center and kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd with remove_center, got {kernel_size}")
        if act_layer not in ACTIVATIONS:
            raise ValueError(f"act_layer must be one of {', '.join(ACTIVATIONS)}, got {act_layer}")
        if norm_layer not in ("LN", "BN"):
            raise ValueError(f"norm_layer must be LN or BN, got {norm_layer}")
        self.kernel_size = kernel_size
        self.stride = stride
        self.pad = pad
        self.dilation = dilation
        self.group = group
        self.offset_scale = offset_scale
        size = kernel_size if dw_kernel_size is None else dw_kernel_size
        last = Permute(0, 2, 3, 1)
        if norm_layer == "LN":
            norm = nn.Sequential(last, nn.LayerNorm(channels, eps=1e-6))
        else:
            norm = nn.Sequential(nn.BatchNorm2d(channels), last)
        depthwise = nn.Conv2d(channels, channels, size, padding=(size - 1) // 2, groups=channels)
        self.dw_conv = nn.Sequential(depthwise, norm, ACTIVATIONS[act_layer]())
        points = group * (kernel_size**2 - int(remove_center))
        self.offset = nn.Linear(channels, 2 * points)
        self.mask = nn.Linear(channels, points)
        self.input_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.center_feature_scale_proj_weight = None
        self.center_feature_scale_proj_bias = None
        if center_feature_scale:
            self.center_feature_scale_proj_weight = nn.Parameter(torch.zeros(group, channels))
            self.center_feature_scale_proj_bias = nn.Parameter(torch.zeros(group))
        self.init_weights()

    def init_weights(self) -> None:
        """Start without offsets and with equal weights."""
        for layer in (self.offset, self.mask):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.input_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        projected = self.input_proj(x)
        seen = self.dw_conv(x.permute(0, 3, 1, 2))
        weight = F.softmax(self.mask(seen).unflatten(-1, (self.group, -1)), -1).flatten(-2).to(projected.dtype)
        window = self.kernel_size, self.stride, self.pad, self.dilation
        y = dcnv3(projected, self.offset(seen), weight, *window, self.group, self.offset_scale)
        if self.center_feature_scale_proj_weight is not None:
            share = F.linear(seen, self.center_feature_scale_proj_weight, self.center_feature_scale_proj_bias)
            y = mix_centre(y, projected, share)
        return self.output_proj(y)


def mix_centre(y: Tensor, projected: Tensor, share: Tensor) -> Tensor:
    """Blend the result with the input, by a share for each group of channels.

    Args:
        y: The operator's result [N, H, W, C].
        projected: Its input [N, H, W, C].
        share: Before the sigmoid, [N, H, W, groups].
    """
    share = share.sigmoid().repeat_interleave(y.shape[-1] // share.shape[-1], -1)
    return y * (1 - share) + projected * share
