"""HorNet's pyramid, whose output convolutions are recursive gated ones (NeurIPS 2022, arXiv:2207.14284, table 4).

Source: ``object_detection/necks/gn_fpn.py`` of https://github.com/raoyongming/HorNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.gated_conv import RecursiveGatedConv
from foveal.necks.fpn import FPN, NEAREST, XAVIER
from foveal.registry import MODELS

Options = dict[str, Any]

GATED = {"type": "gnconv", "kernel_size": 7, "proj_out": True, "order": 2}


class GNConvModule(RecursiveGatedConv):
    """A recursive gated convolution with norm and activation; HorNet's arguments.

    Args:
        channels: C, unchanged.
        kernel_size: Of the depthwise convolution.
        norm_cfg: mmcv's norm config. None: none.
        act_cfg: mmcv's activation config. None: none.
        proj_out: Have the last 1x1 convolution.
        order: Gates.
        type: ``gnconv``, or ``gngf`` for a filter over the whole spectrum in place of the depthwise convolution.
        h: Rows of that filter.
        w: Its columns.

    Shape:
        [N, C, H, W] to the same.

    Raises:
        ConfigError: If ``type`` is another word.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 7,
        norm_cfg: Options | None = None,
        act_cfg: Options | None = None,
        proj_out: bool = False,
        order: int = 2,
        type: str = "gnconv",
        h: int = 32,
        w: int = 17,
    ) -> None:
        if type not in ("gnconv", "gngf"):
            raise ConfigError(f"gn_conv_cfg.type must be 'gnconv' or 'gngf', got {type!r}")
        super().__init__(channels, order, (h, w) if type == "gngf" else None, kernel_size, scale=1.0)
        if not proj_out:
            self.proj_out = nn.Identity()
        self.norm_name = None
        if norm_cfg is not None:
            self.norm_name, norm = build_norm_layer(norm_cfg, channels)
            self.add_module(self.norm_name, norm)
        self.activate = None if act_cfg is None else build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = super().forward(x)
        if self.norm_name is not None:
            x = getattr(self, self.norm_name)(x)
        return x if self.activate is None else self.activate(x)


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
