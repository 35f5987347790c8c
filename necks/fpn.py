"""Feature Pyramid Network (Lin et al., CVPR 2017, arXiv:1612.03144)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.registry import MODELS

EXTRA_SOURCES = ("on_input", "on_lateral", "on_output")
NEAREST = {"mode": "nearest"}
XAVIER = {"type": "Xavier", "layer": "Conv2d", "distribution": "uniform"}


@MODELS.register_module()
class FPN(BaseModule):
    """Top-down pyramid with mmdet's arguments and keys (``lateral_convs.i.conv``, ``fpn_convs.i.conv``).

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of every map that goes out.
        num_outs: Maps that go out; those beyond the incoming ones are made by stride 2.
        start_level: First incoming map that is used.
        end_level: Last one that is used; -1: the last.
        add_extra_convs: Make the extra maps by 3x3 convolutions from the last incoming map (``on_input``, also True),
            its lateral (``on_lateral``) or the last outgoing map (``on_output``). False: by taking every second pixel.
        relu_before_extra_convs: ReLU before the second and later extra convolutions.
        no_norm_on_lateral: No norm in the lateral convolutions.
        conv_cfg: Convolution, mmcv's config. None: Conv2d.
        norm_cfg: Norm after every convolution. None: none, and the convolutions have a bias.
        act_cfg: Activation after every convolution. None: none.
        upsample_cfg: Arguments of torch's ``interpolate``; with ``scale_factor`` in place of the finer map's size.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to a tuple of ``num_outs`` maps [N, out_channels, H_j, W_j].

    Raises:
        ConfigError: If levels, ``num_outs`` and ``add_extra_convs`` do not fit together.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        upsample_cfg: dict[str, Any] = NEAREST,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = XAVIER,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels = list(in_channels)
        self.num_outs = num_outs
        self.start_level = start_level
        self.end_level = len(self.in_channels) if end_level == -1 else end_level + 1
        self.extra_source = _extra_source(add_extra_convs)
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg)
        self._check()
        self.out_channels = (out_channels,) * num_outs

        shared = {"conv_cfg": conv_cfg, "act_cfg": act_cfg, "inplace": False}
        lateral_norm = None if no_norm_on_lateral else norm_cfg
        used = self.in_channels[start_level : self.end_level]
        self.lateral_convs = nn.ModuleList(
            [ConvModule(channels, out_channels, 1, norm_cfg=lateral_norm, **shared) for channels in used]
        )
        self.fpn_convs = nn.ModuleList(
            [ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, **shared) for _ in used]
        )
        if self.extra_source is not None:
            for i in range(num_outs - len(used)):
                channels = used[-1] if i == 0 and self.extra_source == "on_input" else out_channels
                extra = ConvModule(channels, out_channels, 3, stride=2, padding=1, norm_cfg=norm_cfg, **shared)
                self.fpn_convs.append(extra)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Returns:
            ``num_outs`` maps, finest first.

        Raises:
            ConfigError: If the number of maps is another.
        """
        used = self.used(inputs)
        laterals = self.laterals(used)
        return self.outs(used, laterals)

    def used(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return those of the incoming maps that the levels ask for.

        Raises:
            ConfigError: If the number of maps is another than that of ``in_channels``.
        """
        if len(inputs) != len(self.in_channels):
            name = type(self).__name__
            raise ConfigError(f"{name} was built for {len(self.in_channels)} feature maps, got {len(inputs)}")
        return inputs[self.start_level : self.end_level]

    def laterals(self, used: Sequence[Tensor]) -> list[Tensor]:
        """Return the top-down sums, one [N, out_channels, H_i, W_i] for each used map, finest first."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + self._upsample(laterals[i], laterals[i - 1])
        return laterals

    def outs(self, used: Sequence[Tensor], laterals: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the ``num_outs`` maps, finest first, from the used maps and their top-down sums."""
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        return self.with_extras(outs, used, laterals)

    def with_extras(self, outs: list[Tensor], used: Sequence[Tensor], laterals: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return ``outs`` and the coarser maps that ``num_outs`` asks for."""
        sources = {"on_input": used[-1], "on_lateral": laterals[-1]}
        source = sources.get(self.extra_source or "on_output", outs[-1])
        for i in range(len(outs), self.num_outs):
            if self.extra_source is None:
                source = F.max_pool2d(source, 1, stride=2)
                outs.append(source)
                continue
            source = self.fpn_convs[i](source)
            outs.append(source)
            if self.relu_before_extra_convs:
                source = F.relu(source)
        return tuple(outs)

    def _upsample(self, x: Tensor, finer: Tensor) -> Tensor:
        if "scale_factor" in self.upsample_cfg:
            return F.interpolate(x, **self.upsample_cfg)
        return F.interpolate(x, size=finer.shape[2:], **self.upsample_cfg)

    def _check(self) -> None:
        """Refuse arguments that contradict each other."""
        if not 0 <= self.start_level < self.end_level <= len(self.in_channels):
            raise ConfigError(
                f"FPN levels {self.start_level} to {self.end_level - 1} are not among the "
                f"{len(self.in_channels)} incoming maps"
            )
        used = self.end_level - self.start_level
        if self.end_level < len(self.in_channels) and self.num_outs != used:
            raise ConfigError(f"FPN with end_level {self.end_level - 1} uses {used} maps: num_outs is {self.num_outs}")
        if self.num_outs < used:
            raise ConfigError(f"FPN uses {used} maps but num_outs is {self.num_outs}")


def _extra_source(option: bool | str) -> str | None:
    """Where the extra maps are convolved from; None: they are pooled."""
    if option is False:
        return None
    source = "on_input" if option is True else option
    if source not in EXTRA_SOURCES:
        raise ConfigError(f"FPN add_extra_convs is a bool or one of {', '.join(EXTRA_SOURCES)}, got {option!r}")
    return source
