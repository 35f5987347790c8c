"""Mamba-YOLO's pyramid (Wang et al., AAAI 2025, arXiv:2406.05835, section 3): top-down and bottom-up with scans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.csp import BN
from foveal.layers.vss import XSSBlock
from foveal.registry import MODELS


@MODELS.register_module()
class MambaYOLOPAFPN(BaseModule):
    """Mamba-YOLO's pyramid, whose detector reads the official keys.

    Args:
        in_channels: Channels of the maps that come in, finest first; the same go out.
        num_scans: Scans in a row in each block: 1 for T and B, 2 for L.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to the same.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_scans: int = 1,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = tuple(in_channels)
        pairs = list(pairwise(in_channels))
        self.top_down_blocks = nn.ModuleList(
            XSSBlock(fine + coarse, fine, num_scans) for fine, coarse in reversed(pairs)
        )
        self.downsamples = nn.ModuleList(
            ConvModule(fine, fine, 3, 2, 1, norm_cfg=BN, act_cfg={"type": "SiLU"}) for fine, _ in pairs
        )
        self.bottom_up_blocks = nn.ModuleList(XSSBlock(fine + coarse, coarse, num_scans) for fine, coarse in pairs)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Returns:
            As many maps of the same shapes, finest first.

        Raises:
            ConfigError: If the number of maps is another.
        """
        if len(inputs) != len(self.out_channels):
            raise ConfigError(f"MambaYOLOPAFPN was built for {len(self.out_channels)} feature maps, got {len(inputs)}")
        inner = [inputs[-1]]
        for finer, block in zip(inputs[-2::-1], self.top_down_blocks, strict=True):
            enlarged = F.interpolate(inner[0], size=finer.shape[2:], mode="nearest")
            inner.insert(0, block(torch.cat((enlarged, finer), dim=1)))
        outs = [inner[0]]
        for coarser, shrink, block in zip(inner[1:], self.downsamples, self.bottom_up_blocks, strict=True):
            outs.append(block(torch.cat((shrink(outs[-1]), coarser), dim=1)))
        return tuple(outs)
