"""The backbone of Mamba-YOLO (Wang et al., AAAI 2025, arXiv:2406.05835, section 3).

Features: [N, 3, H, W] to the maps of the stages, [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16] and
[N, C4, H/32, W/32], rounded up. Numbers: https://github.com/HZAI-ZJNU/Mamba-YOLO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.layers.csp import BN, SPPBottleneck, space_to_depth
from foveal.layers.vss import VSSBlock, conv_bn_silu
from foveal.registry import MODELS

ARCHS: dict[str, dict[str, Any]] = {
    "t": {"depths": (1, 1, 3, 1), "channels": (32, 64, 128, 256)},
    "b": {"depths": (1, 1, 3, 1), "channels": (64, 128, 256, 512)},
    "l": {"depths": (2, 2, 6, 2), "channels": (96, 192, 384, 576)},
}


class SimpleStem(nn.Module):
    """Two strided convolutions; key ``conv``.

    Args:
        in_channels: Channels of the images.
        channels: C.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, half, 3, 2, 1, bias=False),
            nn.BatchNorm2d(half, 1e-3, 0.03),
            nn.GELU(),
            nn.Conv2d(half, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels, 1e-3, 0.03),
            nn.SiLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, C, H / 4, W / 4], rounded up."""
        return self.conv(x)


class VisionClueMerge(nn.Module):
    """2 x 2 pixels become channels, then a pointwise convolution; key ``pw_linear``.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pw_linear = conv_bn_silu(4 * in_channels, out_channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / 2, W / 2], rounded up."""
        return self.pw_linear(space_to_depth(x))


@MODELS.register_module()
class ODMamba(BaseModule):
    """Mamba-YOLO's backbone, whose detector reads the official keys.

    Args:
        arch: ``t``, ``b`` or ``l``, or a dict with four ``depths`` and ``channels``.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 3; the last one's is pooled in windows of 5 to 13.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation keeps its statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; None: PyTorch's own initial values, as in the official code.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "t",
        in_channels: int = 3,
        out_indices: Sequence[int] = (1, 2, 3),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        numbers = resolve_arch(arch, ARCHS, "ODMamba")
        channels, depths = numbers["channels"], numbers["depths"]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(channels), "ODMamba")
        self.out_channels = tuple(channels[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        self.stem = SimpleStem(in_channels, channels[0])
        self.merges = nn.ModuleList(VisionClueMerge(fine, coarse) for fine, coarse in pairwise(channels))
        self.stages = nn.ModuleList(
            nn.Sequential(*(VSSBlock(width, width, rate) for rate in rates))
            for width, rates in zip(channels, drop_path_rates(drop_path_rate, depths), strict=True)
        )
        self.pool = SPPBottleneck(channels[-1], (5, 9, 13), {"norm_cfg": BN, "act_cfg": {"type": "SiLU"}})
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "ODMamba")
        maps = []
        x = self.stem(x)
        for i in range(self.out_indices[-1] + 1):
            if i:
                x = self.merges[i - 1](x)
            stage: Any = self.stages[i]
            for block in stage:
                x = run(block, x, self.with_cp)
            if i == len(self.stages) - 1:
                x = self.pool(x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> ODMamba:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts: list[list[nn.Module]] = [[self.stem], [self.stages[0]]]
        parts += [[merge, stage] for merge, stage in zip(self.merges, list(self.stages)[1:], strict=True)]
        parts[-1].append(self.pool)
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self
