"""BTSHead: depth from local planes (Lee et al., "From Big to Small", 2019, arXiv:1907.10326)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.heads.depth.depth_head import SILOG, DepthHead, Options
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS

XAVIER = {"type": "Xavier", "layer": "Conv2d", "distribution": "uniform", "bias": 0}


def conv_elu(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3x3 convolution without bias and ELU, key ``0``."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.ELU())


def norm(channels: int) -> nn.BatchNorm2d:
    """Return batch normalisation with the constants that the official code took over from TensorFlow."""
    return nn.BatchNorm2d(channels, eps=1.1e-5, momentum=0.01)


class UpConv(nn.Module):
    """Enlarge by the nearest pixel, 3x3 convolution, ELU; key ``conv``.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map [N, in_channels, h, w] to [N, out_channels, *size]."""
        return F.elu(self.conv(F.interpolate(x, tuple(size), mode="nearest")))


class AtrousConv(nn.Module):
    """Norm, 1x1 convolution, norm and dilated 3x3 convolution; key ``atrous_conv``.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        dilation: Of the 3x3 convolution.
        first_norm: Begin with the norm.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int, first_norm: bool = True) -> None:
        super().__init__()
        self.atrous_conv = nn.Sequential()
        if first_norm:
            self.atrous_conv.add_module("first_bn", norm(in_channels))
        inner = 2 * out_channels
        layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(in_channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner, momentum=0.01),
            nn.ReLU(),
            nn.Conv2d(inner, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
        )
        self.atrous_conv.add_module("aconv_sequence", layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, h, w] to [N, out_channels, h, w]."""
        return self.atrous_conv(x)


class Reduction(nn.Module):
    """1x1 convolutions that halve the channels down to four parameters, or to one depth; key ``reduc``.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels of the first convolution, a power of two times 8.
        last: ``plane_params`` gives three numbers, ``final`` one between 0 and 1.
    """

    def __init__(self, in_channels: int, out_channels: int, last: str = "plane_params") -> None:
        super().__init__()
        self.reduc = nn.Sequential()
        while out_channels >= 8:
            layers = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.ELU())
            self.reduc.add_module(f"inter_{in_channels}_{out_channels}", layers)
            in_channels, out_channels = out_channels, out_channels // 2
        if last == "final":
            self.reduc.add_module(last, nn.Sequential(nn.Conv2d(in_channels, 1, 1, bias=False), nn.Sigmoid()))
        else:
            self.reduc.add_module(last, nn.Conv2d(in_channels, 3, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, h, w] to [N, 3 or 1, h, w]."""
        return self.reduc(x)


def local_planar_guidance(code: Tensor, ratio: int) -> Tensor:
    """Return the depths of planes, each seen through ``ratio`` x ``ratio`` pixels (paper, equations 1 to 3).

    Args:
        code: [N, 3, h, w]: before their sigmoids, the plane's polar angle (up to 60 degrees), its azimuth, and its
            distance.
        ratio: Pixels to one cell along each axis.

    Returns:
        [N, 1, h * ratio, w * ratio] as a share of the largest depth.
    """
    theta, phi, distance = code.sigmoid().unbind(1)
    theta, phi = theta * (math.pi / 3), phi * (2 * math.pi)
    n1, n2, n3 = (x[:, :, None, :, None] for x in (theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()))
    place = (torch.arange(ratio, device=code.device, dtype=code.dtype) - (ratio - 1) / 2) / ratio
    depth = distance[:, :, None, :, None] / (n1 * place + n2 * place[:, None, None] + n3)
    return depth.flatten(3, 4).flatten(1, 2).unsqueeze(1)


@MODELS.register_module()
class BTSHead(DepthHead):
    """BTS's decoder: dense atrous convolutions, then planes at an eighth, a quarter and half of the size.

    The keys are the official decoder's; files with the whole network's names, ``decoder.``, are read too.

    Args:
        in_channels: Channels of five maps, of strides 2 to 32, finest first.
        channels: Channels inside, ``bts_size`` of the official code: a power of two, at least 128.
        max_depth: The largest depth, in metres: 10 for NYU, 80 for KITTI.
        min_depth: Depths up to this are not learnt from: officially 0.1 for NYU, 1 for KITTI.
        reference_focal: 715.0873 pixels for KITTI; None for NYU. See `DepthHead`.
        loss_decode: Config of the loss.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If the depths are not positive and rising.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (96, 96, 192, 384, 2208),
        channels: int = 512,
        max_depth: float = 10.0,
        min_depth: float = 0.1,
        reference_focal: float | None = None,
        loss_decode: Options = SILOG,
        init_cfg: Options | list[Options] | None = XAVIER,
    ) -> None:
        super().__init__(in_channels, max_depth, min_depth, reference_focal, loss_decode, init_cfg)
        skip0, skip1, skip2, skip3, deep = in_channels
        c, half, quarter, eighth, sixteenth = (channels // 2**i for i in range(5))
        self.upconv5, self.bn5 = UpConv(deep, c), norm(c)
        self.conv5 = conv_elu(c + skip3, c)
        self.upconv4, self.bn4 = UpConv(c, half), norm(half)
        self.conv4, self.bn4_2 = conv_elu(half + skip2, half), norm(half)
        self.daspp_3 = AtrousConv(half, quarter, 3, first_norm=False)
        for i, dilation in enumerate((6, 12, 18, 24), start=1):
            self.add_module(f"daspp_{dilation}", AtrousConv(half + i * quarter + skip2, quarter, dilation))
        self.daspp_conv = conv_elu(half + 5 * quarter, quarter)
        self.reduc8x8 = Reduction(quarter, quarter)
        self.upconv3, self.bn3 = UpConv(quarter, quarter), norm(quarter)
        self.conv3 = conv_elu(quarter + skip1 + 1, quarter)
        self.reduc4x4 = Reduction(quarter, eighth)
        self.upconv2, self.bn2 = UpConv(quarter, eighth), norm(eighth)
        self.conv2 = conv_elu(eighth + skip0 + 1, eighth)
        self.reduc2x2 = Reduction(eighth, sixteenth)
        self.upconv1 = UpConv(eighth, sixteenth)
        self.reduc1x1 = Reduction(sixteenth, sixteenth // 2, "final")
        self.conv1 = conv_elu(sixteenth + 4, sixteenth)
        self.get_depth = nn.Sequential(nn.Conv2d(sixteenth, 1, 3, padding=1, bias=False), nn.Sigmoid())

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return depths [N, 1, 2 * h, 2 * w] in metres, h and w those of the finest map, at ``reference_focal``."""
        skip0, skip1, skip2, skip3, deep = feats
        sizes = [x.shape[2:] for x in (skip0, skip1, skip2, skip3)]
        full = [2 * side for side in sizes[0]]
        x = self.conv5(torch.cat([self.bn5(self.upconv5(F.relu(deep), sizes[3])), skip3], 1))
        seen = torch.cat([self.bn4(self.upconv4(x, sizes[2])), skip2], 1)
        x = self.bn4_2(self.conv4(seen))
        found = [x, self.daspp_3(x)]
        for dilation in (6, 12, 18, 24):
            seen = torch.cat([seen, found[-1]], 1)
            found.append(getattr(self, f"daspp_{dilation}")(seen))
        x = self.daspp_conv(torch.cat(found, 1))
        depth8 = local_planar_guidance(self.reduc8x8(x), 8)
        x = self.bn3(self.upconv3(x, sizes[1]))
        x = self.conv3(torch.cat([x, skip1, _nearest(depth8, sizes[1])], 1))
        depth4 = local_planar_guidance(self.reduc4x4(x), 4)
        x = self.bn2(self.upconv2(x, sizes[0]))
        x = self.conv2(torch.cat([x, skip0, _nearest(depth4, sizes[0])], 1))
        depth2 = local_planar_guidance(self.reduc2x2(x), 2)
        x = self.upconv1(x, full)
        guides = [self.reduc1x1(x), *(_nearest(depth, full) for depth in (depth2, depth4, depth8))]
        return self.max_depth * self.get_depth(self.conv1(torch.cat([x, *guides], 1)))

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take the decoder out of an official network."""
        take_over(state_dict, "decoder.", prefix)


def _nearest(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="nearest")
