"""The pyramid of EfficientViT's, SHViT's and EfficientViM's detectors, whose backbones begin at stride 16.

Source: ``efficientvit_fpn.py`` of https://github.com/ysj9909/SHViT and https://github.com/mlvlab/EfficientViM, after
https://github.com/microsoft/Cream (EfficientViT, Liu et al., CVPR 2023, arXiv:2305.07027).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.necks.fpn import FPN, XAVIER
from foveal.registry import MODELS

KAIMING = {"type": "Kaiming", "layer": "ConvTranspose2d"}


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of a map, with EfficientViM's shape of the parameters, [1, C, 1, 1].

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, H, W] over C."""
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, 1e-5).permute(0, 3, 1, 2)


@MODELS.register_module()
class EfficientViTFPN(FPN):
    """FPN with finer maps in front, made by transposed convolutions from its finest top-down sum.

    Arguments and keys (``extra_trans_convs.i.conv``, ``extra_fpn_convs.i.conv``, ``batch_norm.i``) are the official
    ones. Coarser maps than the backbone's take every second pixel.

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of every map that goes out.
        num_outs: Maps that go out, the finer ones included.
        start_level: First incoming map that is used.
        num_extra_trans_convs: Finer maps, each with twice the sides of the next.
        pre_norm: Layer normalisation of what comes in, as EfficientViM has it.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to a tuple of ``num_outs`` maps [N, out_channels, H_j, W_j].

    Raises:
        ConfigError: If ``num_outs`` is less than the maps that there are.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        num_extra_trans_convs: int = 0,
        pre_norm: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if num_extra_trans_convs < 0 or num_outs - num_extra_trans_convs < len(in_channels) - start_level:
            raise ConfigError(
                f"EfficientViTFPN with {len(in_channels) - start_level} maps and {num_extra_trans_convs} finer ones "
                f"cannot give {num_outs}"
            )
        coarser = num_outs - num_extra_trans_convs
        super().__init__(in_channels, out_channels, coarser, start_level, init_cfg=init_cfg or [XAVIER, KAIMING])
        self.out_channels = (out_channels,) * num_outs
        self.batch_norm = nn.ModuleList(ChannelNorm(c) for c in in_channels[start_level:]) if pre_norm else None
        finer = range(num_extra_trans_convs)
        self.extra_trans_convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.ConvTranspose2d(out_channels, out_channels, 2, stride=2))) for _ in finer
        )
        self.extra_fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, act_cfg=None) for _ in finer
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Returns:
            ``num_outs`` maps, finest first.

        Raises:
            ConfigError: If the number of maps is another.
        """
        used: Sequence[Tensor] = self.used(inputs)
        if self.batch_norm is not None:
            used = [norm(x) for norm, x in zip(self.batch_norm, used, strict=True)]
        laterals = self.laterals(used)
        finer: list[Tensor] = []
        for enlarge in self.extra_trans_convs:
            finer.insert(0, enlarge(finer[0] if finer else laterals[0]))
        finer = [conv(x) for conv, x in zip(self.extra_fpn_convs, finer, strict=True)]
        return (*finer, *self.outs(used, laterals))
