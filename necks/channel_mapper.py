"""One convolution a feature map, so that all have the same channels (DETR and its successors)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.necks.fpn import XAVIER
from foveal.registry import MODELS

Options = dict[str, Any]

_RELU = {"type": "ReLU"}


@MODELS.register_module()
class ChannelMapper(BaseModule):
    """Map every feature map to ``out_channels``, with mmdet's arguments and keys (``convs.i``, ``extra_convs.i``).

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of every map that goes out.
        kernel_size: Of the convolutions.
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: mmcv's norm config. None: none.
        act_cfg: mmcv's activation config. None: none.
        bias: Of the convolutions; ``auto``: only without a norm.
        num_outs: Maps that go out; those beyond the incoming ones are made by 3x3 convolutions of stride 2. None: as
            many as come in.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: One number a map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to ``num_outs`` maps [N, out_channels, H_i, W_i].
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int = 3,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        act_cfg: Options | None = _RELU,
        bias: bool | str = "auto",
        num_outs: int | None = None,
        init_cfg: Options | list[Options] | None = XAVIER,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg, "bias": bias}
        self.in_channels = list(in_channels)
        count = len(self.in_channels) if num_outs is None else num_outs
        self.out_channels = (out_channels,) * count
        self.convs = nn.ModuleList(
            ConvModule(channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **layers)
            for channels in self.in_channels
        )
        self.extra_convs: nn.ModuleList | None = None
        if count > len(self.in_channels):
            self.extra_convs = nn.ModuleList(
                ConvModule(out_channels if i else self.in_channels[-1], out_channels, 3, 2, 1, **layers)
                for i in range(count - len(self.in_channels))
            )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the maps.

        Args:
            inputs: One map for each of ``in_channels``.

        Raises:
            ConfigError: If the number of maps is another.
        """
        if len(inputs) != len(self.in_channels):
            raise ConfigError(f"ChannelMapper was built for {len(self.in_channels)} feature maps, got {len(inputs)}")
        outs = [conv(x) for conv, x in zip(self.convs, inputs, strict=True)]
        for i, conv in enumerate(self.extra_convs or ()):
            outs.append(conv(outs[-1] if i else inputs[-1]))
        return tuple(outs)
