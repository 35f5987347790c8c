"""DCFAM: densely connected feature aggregation on Swin (Wang et al., IEEE GRSL 2022, arXiv:2104.12137)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS

Options = dict[str, Any]

EPS = 1e-6
BN = {"type": "BN"}


def conv_bn_relu(in_channels: int, out_channels: int, norm_cfg: Options) -> nn.Sequential:
    """Return a 3x3 convolution without bias, a norm and ReLU, keys ``0`` and ``1``."""
    return nn.Sequential(*conv_bn(in_channels, out_channels, norm_cfg), nn.ReLU())


def conv_bn(in_channels: int, out_channels: int, norm_cfg: Options, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution without bias and a norm, keys ``0`` and ``1``."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, build_norm_layer(norm_cfg, out_channels)[1])


def separable(in_channels: int, out_channels: int, dilation: int, norm_cfg: Options) -> nn.Sequential:
    """Return a dilated depthwise and a pointwise convolution, a norm and ReLU, keys ``0``, ``1`` and ``2``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        build_norm_layer(norm_cfg, out_channels)[1],
        nn.ReLU(),
    )


class SharedSpatialAttention(nn.Module):
    """Pixels attend to pixels with weights of 1 + cosine, which are never formed (paper, section II.B).

    Args:
        channels: C, at least 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        q, k = (F.normalize(conv(x).flatten(2), dim=1) for conv in (self.query_conv, self.key_conv))
        v = self.value_conv(x).flatten(2)
        y = v.sum(2, keepdim=True) + v @ k.transpose(1, 2) @ q
        weights = q.shape[2] + (k.sum(2) + EPS).unsqueeze(1) @ q
        return x + self.gamma * (y / weights).view_as(x)


class SharedChannelAttention(nn.Module):
    """The like over channels, without projections; keeps the official formula, which normalises each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        v = x.flatten(2)
        q = F.normalize(v, dim=1)
        y = v.sum(1, keepdim=True) + v @ q.transpose(1, 2) @ q
        weights = q.shape[2] + q @ (q.sum(1) + EPS).unsqueeze(2)
        return x + self.gamma * (y / weights).view_as(x)


class DownConnection(nn.Module):
    """Two convolutions, the second one strided, on a residual path.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        norm_cfg: Norm layers.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: Options) -> None:
        super().__init__()
        self.convbn1 = conv_bn(in_channels, out_channels, norm_cfg)
        self.convbn2 = conv_bn(out_channels, out_channels, norm_cfg, 2)
        self.downsample = conv_bn(in_channels, out_channels, norm_cfg, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / 2, W / 2], rounded up."""
        return F.relu(self.convbn2(F.relu(self.convbn1(x))) + self.downsample(x))


class DCFAM(nn.Module):
    """Four maps to two, through connections from fine to coarse and back.

    Args:
        channels: Of the four maps, finest first.
        atrous_rates: Dilations of the two convolutions of each way up.
        norm_cfg: Norm layers.
    """

    def __init__(self, channels: Sequence[int], atrous_rates: tuple[int, int], norm_cfg: Options) -> None:
        super().__init__()
        first, second, third, fourth = channels
        self.conv4 = nn.Sequential(nn.Conv2d(fourth, fourth, 1, bias=False))
        self.conv1 = nn.Sequential(nn.Conv2d(first, first, 1, bias=False))
        self.lf4 = self._way_up(fourth, third, second, atrous_rates, norm_cfg)
        self.lf3 = self._way_up(third, second, first, atrous_rates, norm_cfg)
        self.ca = SharedChannelAttention()
        self.pa = SharedSpatialAttention(third)
        self.down12 = DownConnection(first, second, norm_cfg)
        self.down231 = DownConnection(second, third, norm_cfg)
        self.down232 = DownConnection(second, third, norm_cfg)
        self.down34 = DownConnection(third, fourth, norm_cfg)

    def forward(self, x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor) -> tuple[Tensor, Tensor]:
        """Return two maps, shaped as the first and the second."""
        out4 = self.conv4(x4) + self.down34(self.pa(self.down232(x2)))
        out3 = self.pa(x3) + self.down231(self.ca(self.down12(x1)))
        out2 = self.ca(x2) + self._up(self.lf4, out4, x3, x2)
        return self._up(self.lf3, out3, x2, x1) + self.conv1(x1), out2

    @staticmethod
    def _way_up(coarse: int, middle: int, fine: int, rates: tuple[int, int], norm_cfg: Options) -> nn.ModuleDict:
        # the official list has enlarging layers between
        layers = separable(coarse, middle, rates[0], norm_cfg), separable(middle, fine, rates[1], norm_cfg)
        return nn.ModuleDict(dict(zip("02", layers, strict=True)))

    @staticmethod
    def _up(way: nn.ModuleDict, x: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        return enlarge(way["2"](enlarge(way["0"](x), middle)), fine)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` at the height and width of ``like``, by the nearest pixel."""
    return F.interpolate(x, like.shape[2:], mode="nearest")


@MODELS.register_module()
class DCFAMHead(DecodeHead):
    """DCFAM's decoder, which with `SwinTransformer` is DC-Swin.

    Files with the official whole network's names, ``decoder.``, are read too. Its logits are enlarged four times with
    aligned corners, so that is the default here.

    Args:
        in_channels: Channels of the backbone's four maps, finest first.
        num_classes: K.
        in_index: Which four feature maps, finest first.
        atrous_rates: Dilations on the ways up.
        dropout_ratio: Whole channels dropped before the last two convolutions while training.
        norm_cfg: Norm layers.
        align_corners: As in ``torch.nn.functional.interpolate``.
        options: The other arguments of `DecodeHead`, but ``channels``.

    Shape:
        four maps [N, in_channels[i], H_i, W_i] to logits [N, K, H_0, W_0].

    Source: ``DCSwin.py`` of WangLibo1995/GeoSeg.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
        atrous_rates: tuple[int, int] = (6, 12),
        dropout_ratio: float = 0.05,
        norm_cfg: Options = BN,
        align_corners: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            in_channels,
            in_channels[0],
            num_classes=num_classes,
            in_index=in_index,
            input_transform="multiple_select",
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg,
            align_corners=align_corners,
            **options,
        )
        self.dcfam = DCFAM(in_channels, atrous_rates, norm_cfg)
        self.up = conv_bn_relu(in_channels[1], in_channels[0], norm_cfg)
        self.bottleneck = conv_bn_relu(in_channels[0], in_channels[0], norm_cfg)
        self.conv_seg = nn.Conv2d(in_channels[0], self.out_channels, 1, bias=False)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, h, w] at the size of the finest map of ``feats``."""
        fine, coarse = self.dcfam(*self.select(feats))
        x = self.dropout(fine + enlarge(self.up(coarse), fine))
        return self.conv_seg(self.bottleneck(x))

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take the decoder out of an official network."""
        names = {"segmentation_head.0.": "bottleneck.", "segmentation_head.1.0.": "conv_seg.", "up.0.": "up."}

        def ours(name: str) -> str:
            theirs = next((start for start in names if name.startswith(start)), "")
            return names.get(theirs, "") + name.removeprefix(theirs)

        take_over(state_dict, "decoder.", prefix, ours)
