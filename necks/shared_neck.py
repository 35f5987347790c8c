"""FemtoDet's neck: all maps in one size, added or stacked (Tu et al., ICCV 2023, arXiv:2301.06719).

Source: ``mmdet/models/necks/yolox_pafpn.py`` of https://github.com/yh-pengtu/FemtoDet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.necks.fpn import XAVIER
from foveal.registry import MODELS

Options = dict[str, Any]


@MODELS.register_module()
class SharedNeck(BaseModule):
    """One map from several, with the official arguments and keys (``lateral_convs.i``, ``stacked_convs``).

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of the map that goes out.
        num_outs: Maps that go out: 1.
        add: Add the maps; else they are stacked.
        fixed_size_idx: Map whose size all take.
        conv_bias: Bias of the last convolution; ``auto``: only without a norm.
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: mmcv's norm config. None: none.
        act_cfg: mmcv's activation config. None: none.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of the map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to one [N, out_channels, H, W].

    Raises:
        ConfigError: If ``num_outs`` is not 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 1,
        add: bool = False,
        fixed_size_idx: int = 0,
        conv_bias: bool | str = "auto",
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        act_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = XAVIER,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_outs != 1:
            raise ConfigError(f"SharedNeck gives one map: num_outs must be 1, got {num_outs}")
        self.in_channels = list(in_channels)
        self.out_channels = (out_channels,)
        self.add = add
        self.fixed_size_idx = fixed_size_idx
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, inplace=False, **layers) for channels in self.in_channels
        )
        width = out_channels if add else out_channels * len(self.in_channels)
        self.stacked_convs = DepthwiseSeparableConvModule(width, out_channels, 3, padding=1, bias=conv_bias, **layers)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the one map.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Raises:
            ConfigError: If the number of maps is another.
        """
        if len(inputs) != len(self.in_channels):
            raise ConfigError(f"SharedNeck was built for {len(self.in_channels)} feature maps, got {len(inputs)}")
        size = inputs[self.fixed_size_idx].shape[2:]
        maps = [F.interpolate(conv(x), size) for conv, x in zip(self.lateral_convs, inputs, strict=True)]
        return (self.stacked_convs(torch.stack(maps).sum(0) if self.add else torch.cat(maps, dim=1)),)
