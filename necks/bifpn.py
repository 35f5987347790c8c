"""BiFPN of EfficientDet (Tan et al., CVPR 2020, arXiv:1911.09070).

Arguments and keys are those of ``projects/EfficientDet`` of https://github.com/open-mmlab/mmdetection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.registry import MODELS

Options = dict[str, Any]

BN = {"type": "BN", "momentum": 0.01, "eps": 0.001}


@MODELS.register_module()
class BiFPN(BaseModule):
    """Five maps, strides 8 to 128, that exchange what they know top-down and bottom-up several times.

    Sums are weighted; the weights are learnt and kept positive.

    Args:
        num_stages: How many times.
        in_channels: Channels of the maps that come in, finest first; from ``start_level`` on there are three.
        out_channels: Channels of every map that goes out.
        start_level: First incoming map that is used.
        epsilon: Keeps the weights' sum from zero.
        apply_bn_for_resampling: Norm after the convolutions.
        conv_bn_act_pattern: Activation after each norm, not before each convolution.
        norm_cfg: mmcv's norm config.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to five maps [N, out_channels, H_j, W_j], the two last ones with half and
        a quarter of the last incoming one's sides, rounded up.

    Raises:
        ConfigError: If there are not three maps from ``start_level`` on.
    """

    def __init__(
        self,
        num_stages: int,
        in_channels: Sequence[int],
        out_channels: int,
        start_level: int = 0,
        epsilon: float = 1e-4,
        apply_bn_for_resampling: bool = True,
        conv_bn_act_pattern: bool = False,
        norm_cfg: Options = BN,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        used = list(in_channels)[start_level:]
        if len(used) != 3:
            raise ConfigError(f"BiFPN reads three maps, got {len(used)} from start_level {start_level} on")
        self.start_level = start_level
        self.out_channels = (out_channels,) * 5
        norm = norm_cfg if apply_bn_for_resampling else None
        self.bifpn = nn.Sequential(
            *(
                BiFPNStage(used if i == 0 else None, out_channels, epsilon, conv_bn_act_pattern, norm)
                for i in range(num_stages)
            )
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Returns:
            Five maps, finest first.
        """
        return self.bifpn(inputs[self.start_level :])


class BiFPNStage(nn.Module):
    """One exchange; keys ``conv6_up`` … ``conv7_down``, ``p6_w1`` … ``p7_w2`` and, first, ``p5_down_channel`` ….

    Args:
        in_channels: Channels of the backbone's three maps in the first stage; None: the stage before gives five.
        channels: Of every map that goes out.
        epsilon: Keeps the weights' sum from zero.
        act_last: Activation after each norm, not before each convolution.
        norm_cfg: mmcv's norm config. None: none.
    """

    def __init__(
        self,
        in_channels: Sequence[int] | None,
        channels: int,
        epsilon: float,
        act_last: bool,
        norm_cfg: Options | None,
    ) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.act_last = act_last
        self.first_time = in_channels is not None
        if in_channels is not None:
            third, fourth, fifth = in_channels
            sources = {"p5_down_channel": fifth, "p4_down_channel": fourth, "p3_down_channel": third}
            # the bottom-up path has convolutions of its own
            sources |= {"p4_level_connection": fourth, "p5_level_connection": fifth}
            for name, source in sources.items():
                self.add_module(name, DownChannelBlock(source, channels, act_last, norm_cfg))
            self.p5_to_p6 = nn.Sequential(DownChannelBlock(fifth, channels, act_last, norm_cfg))
        for level in (6, 5, 4, 3):
            self.add_module(f"conv{level}_up", DepthWiseConvBlock(channels, act_last, norm_cfg))
            self.register_parameter(f"p{level}_w1", nn.Parameter(torch.ones(2)))
        for level in (4, 5, 6, 7):
            self.add_module(f"conv{level}_down", DepthWiseConvBlock(channels, act_last, norm_cfg))
            self.register_parameter(f"p{level}_w2", nn.Parameter(torch.ones(2 if level == 7 else 3)))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Map three maps of the backbone, or five of the stage before, to five."""
        if self.first_time:
            third, fourth, fifth = inputs
            sixth = halve(self._apply_to("p5_to_p6", fifth))
            maps = {
                3: self._apply_to("p3_down_channel", third),
                4: self._apply_to("p4_down_channel", fourth),
                5: self._apply_to("p5_down_channel", fifth),
                6: sixth,
                7: halve(sixth),
            }
        else:
            maps = dict(zip(range(3, 8), inputs, strict=True))
        ups = {7: maps[7]}
        for level in (6, 5, 4, 3):
            enlarged = F.interpolate(ups[level + 1], size=maps[level].shape[2:], mode="nearest")
            ups[level] = self._fuse(f"p{level}_w1", f"conv{level}_up", maps[level], enlarged)
        if self.first_time:
            maps |= {
                4: self._apply_to("p4_level_connection", fourth),
                5: self._apply_to("p5_level_connection", fifth),
            }
        outs = [ups[3]]
        for level in (4, 5, 6):
            parts = (maps[level], ups[level], halve(outs[-1]))
            outs.append(self._fuse(f"p{level}_w2", f"conv{level}_down", *parts))
        outs.append(self._fuse("p7_w2", "conv7_down", maps[7], halve(outs[-1])))
        return tuple(outs)

    def _apply_to(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, name)(x)

    def _fuse(self, weights: str, conv: str, *parts: Tensor) -> Tensor:
        """The weighted mean of the parts through a convolution."""
        share = getattr(self, weights).relu()
        share = share / (share.sum() + self.epsilon)
        total = sum((w * part for w, part in zip(share[1:], parts[1:], strict=True)), share[0] * parts[0])
        return self._apply_to(conv, total if self.act_last else F.silu(total))


class DepthWiseConvBlock(nn.Module):
    """A separable 3x3 convolution with norm; keys ``depthwise_conv``, ``pointwise_conv``, ``bn``.

    Args:
        channels: C, unchanged.
        act_last: Activation at the end.
        norm_cfg: mmcv's norm config. None: none.
    """

    def __init__(self, channels: int, act_last: bool, norm_cfg: Options | None) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise_conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.Identity() if norm_cfg is None else build_norm_layer(norm_cfg, channels)[1]
        self.act_last = act_last

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = self.bn(self.pointwise_conv(self.depthwise_conv(x)))
        return F.silu(x) if self.act_last else x


class DownChannelBlock(nn.Module):
    """A 1x1 convolution with norm; keys ``down_conv``, ``bn``.

    Args:
        in_channels: Channels that come in.
        channels: Channels that go out.
        act_last: Activation at the end.
        norm_cfg: mmcv's norm config. None: none.
    """

    def __init__(self, in_channels: int, channels: int, act_last: bool, norm_cfg: Options | None) -> None:
        super().__init__()
        self.down_conv = nn.Conv2d(in_channels, channels, 1)
        self.bn = nn.Identity() if norm_cfg is None else build_norm_layer(norm_cfg, channels)[1]
        self.act_last = act_last

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, channels, H, W]."""
        x = self.bn(self.down_conv(x))
        return F.silu(x) if self.act_last else x


def halve(x: Tensor) -> Tensor:
    """Return maxima of 3x3 windows, [N, C, H / 2, W / 2] rounded up, with zeros around as TensorFlow pads."""
    height, width = x.shape[2:]
    down, across = 3 - 2 + height % 2, 3 - 2 + width % 2
    x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
    return F.max_pool2d(x, 3, stride=2)
