"""HorNet's recursive gated convolution as a layer of necks and heads.

Source: ``mmcv_custom/gn_module.py`` of https://github.com/raoyongming/HorNet.
"""

from __future__ import annotations

from typing import Any

from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.gated_conv import RecursiveGatedConv

Options = dict[str, Any]


class GNConvModule(RecursiveGatedConv):
    """A recursive gated convolution with norm and activation; HorNet's arguments.

    Args:
        channels: C of the output.
        kernel_size: Of the depthwise convolution.
        norm_cfg: mmcv's norm config. None: none.
        act_cfg: mmcv's activation config. None: none.
        proj_out: Have the last 1x1 convolution.
        order: Gates.
        type: ``gnconv``, or ``gngf`` for a filter over the whole spectrum in place of the depthwise convolution.
        h: Rows of that filter.
        w: Its columns.
        in_channels: Of the input. None: C.

    Shape:
        [N, in_channels, H, W] to [N, C, H, W].

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
        in_channels: int | None = None,
    ) -> None:
        if type not in ("gnconv", "gngf"):
            raise ConfigError(f"gn_conv_cfg.type must be 'gnconv' or 'gngf', got {type!r}")
        super().__init__(channels, order, (h, w) if type == "gngf" else None, kernel_size, 1.0, in_channels)
        if not proj_out:
            self.proj_out = nn.Identity()
        self.norm_name = None
        if norm_cfg is not None:
            self.norm_name, norm = build_norm_layer(norm_cfg, channels)
            self.add_module(self.norm_name, norm)
        self.activate = None if act_cfg is None else build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, C, H, W]."""
        x = super().forward(x)
        if self.norm_name is not None:
            x = getattr(self, self.norm_name)(x)
        return x if self.activate is None else self.activate(x)
