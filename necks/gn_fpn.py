"""HorNet's pyramid, whose output convolutions are recursive gated ones (NeurIPS 2022, arXiv:2207.14284, table 4).

Source: ``object_detection/necks/gn_fpn.py`` of https://github.com/raoyongming/HorNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from foveal.layers.gn_conv_module import GNConvModule
from foveal.necks.fpn import FPN, NEAREST, XAVIER
from foveal.registry import MODELS

Options = dict[str, Any]

GATED = {"type": "gnconv", "kernel_size": 7, "proj_out": True, "order": 2}


@MODELS.register_module()
class GNFPN(FPN):
    """`FPN` with recursive gated convolutions in place of the 3x3 ones behind the sums; HorNet's arguments and keys.

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of every map that goes out.
        num_outs: Maps that go out; those beyond the incoming ones take every second pixel.
        start_level: First incoming map that is used.
        end_level: Last one that is used; -1: the last.
        gn_conv_cfg: Arguments of `GNConvModule`.
        no_norm_on_lateral: No norm in the lateral convolutions.
        conv_cfg: Convolution of the laterals, mmcv's config. None: Conv2d.
        norm_cfg: Norm after every convolution. None: none.
        act_cfg: Activation after every convolution. None: none.
        upsample_cfg: As for `FPN`.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to a tuple of ``num_outs`` maps [N, out_channels, H_j, W_j].
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        gn_conv_cfg: Options = GATED,
        no_norm_on_lateral: bool = False,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        act_cfg: Options | None = None,
        upsample_cfg: Options = NEAREST,
        init_cfg: Options | list[Options] | None = XAVIER,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            num_outs,
            start_level,
            end_level,
            no_norm_on_lateral=no_norm_on_lateral,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            upsample_cfg=upsample_cfg,
            init_cfg=init_cfg,
        )
        self.fpn_convs = nn.ModuleList(
            GNConvModule(out_channels, norm_cfg=norm_cfg, act_cfg=act_cfg, **gn_conv_cfg) for _ in self.lateral_convs
        )
