"""SSD's extra feature maps (Liu et al., ECCV 2016, arXiv:1512.02325)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.csp import conv_kind
from foveal.registry import MODELS

Options = dict[str, Any]

RELU = {"type": "ReLU"}
INIT: list[Options] = [
    {"type": "Xavier", "distribution": "uniform", "layer": "Conv2d"},
    {"type": "Constant", "val": 1, "layer": "BatchNorm2d"},
]


class L2Norm(nn.Module):
    """Scale every pixel's vector to a learnt length (ParseNet, arXiv:1506.04579); key ``weight``.

    Args:
        channels: C.
        scale: The length at first.

    Shape:
        [N, C, H, W] to the same.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        precise = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        norm = precise.square().sum(1, keepdim=True).sqrt() + 1e-10
        return (self.weight[:, None, None] * precise / norm).to(x.dtype)


@MODELS.register_module()
class SSDNeck(BaseModule):
    """The incoming maps, and smaller ones made from the last; mmdet's arguments and keys (``extra_layers.i.0|1``).

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of all maps that go out, the incoming ones first.
        level_strides: Stride of each extra map.
        level_paddings: Padding of each extra map's second convolution.
        l2_norm_scale: Scale the first map's vectors to this length at first. None or 0: leave it.
        last_kernel_size: Of the last map's second convolution; the others have 3.
        use_depthwise: Separable convolutions for the second ones (SSDLite).
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: mmcv's norm config. None: none.
        act_cfg: Activations.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to a longer tuple of [N, out_channels[j], H_j, W_j].

    Raises:
        ConfigError: If the lists do not fit together.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        use_depthwise: bool = False,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        act_cfg: Options = RELU,
        init_cfg: Options | list[Options] | None = INIT,
    ) -> None:
        super().__init__(init_cfg)
        extra = list(out_channels)[len(in_channels) :]
        if list(in_channels) != list(out_channels)[: len(in_channels)]:
            raise ConfigError(
                f"SSDNeck's out_channels must begin with its in_channels {list(in_channels)}: got {list(out_channels)}"
            )
        if not extra or not len(extra) == len(level_strides) == len(level_paddings):
            raise ConfigError(
                f"SSDNeck adds {len(extra)} maps: level_strides and level_paddings need as many entries (at least 1), "
                f"got {len(level_strides)} and {len(level_paddings)}"
            )
        self.in_channels = list(in_channels)
        self.out_channels = tuple(out_channels)
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        second = conv_kind(use_depthwise)
        if l2_norm_scale:
            self.l2_norm = L2Norm(self.in_channels[0], l2_norm_scale)
        self.extra_layers = nn.ModuleList()
        before = self.out_channels[len(in_channels) - 1 :]
        for i, (source, channels, stride, padding) in enumerate(
            zip(before, extra, level_strides, level_paddings, strict=False)
        ):
            size = last_kernel_size if i == len(extra) - 1 else 3
            self.extra_layers.append(
                nn.Sequential(
                    ConvModule(source, channels // 2, 1, **layers),
                    second(channels // 2, channels, size, stride=stride, padding=padding, **layers),
                )
            )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the maps that came in and the smaller ones.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Raises:
            ConfigError: If the number of maps is another.
        """
        if len(inputs) != len(self.in_channels):
            raise ConfigError(f"SSDNeck was built for {len(self.in_channels)} feature maps, got {len(inputs)}")
        outs = list(inputs)
        if hasattr(self, "l2_norm"):
            outs[0] = self.l2_norm(outs[0])
        x = outs[-1]
        for layer in self.extra_layers:
            x = layer(x)
            outs.append(x)
        return tuple(outs)
