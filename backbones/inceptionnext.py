"""InceptionNeXt: When Inception Meets ConvNeXt (Yu et al., CVPR 2024, arXiv:2303.16900).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded down.
Official code and weights: https://github.com/sail-sg/inceptionnext, which has no dense-prediction form: the maps are
those of its stages. timm's weights have the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.layers import DropPath
from foveal.registry import MODELS

_BANDS = {"band_kernel_size": 11, "branch_ratio": 0.125}

ARCHS: dict[str, dict[str, Any]] = {
    "atto": {"depths": (2, 2, 6, 2), "dims": (40, 80, 160, 320), "band_kernel_size": 9, "branch_ratio": 0.25},
    "tiny": {"depths": (3, 3, 9, 3), "dims": (96, 192, 384, 768), **_BANDS},
    "small": {"depths": (3, 3, 27, 3), "dims": (96, 192, 384, 768), **_BANDS},
    "base": {"depths": (3, 3, 27, 3), "dims": (128, 256, 512, 1024), **_BANDS},
}

MLP_RATIOS = (4, 4, 4, 3)


class InceptionDWConv2d(nn.Module):
    """Depthwise convolutions with a square, a horizontal and a vertical kernel, each on its share of the channels.

    Args:
        dim: C.
        band_kernel_size: Length of the horizontal and the vertical kernel, odd.
        branch_ratio: Share of the channels that each kernel has; the other channels, the first ones, pass.
    """

    def __init__(self, dim: int, band_kernel_size: int, branch_ratio: float) -> None:
        super().__init__()
        share, band = int(dim * branch_ratio), band_kernel_size
        self.dwconv_hw = nn.Conv2d(share, share, 3, padding=1, groups=share)
        self.dwconv_w = nn.Conv2d(share, share, (1, band), padding=(0, band // 2), groups=share)
        self.dwconv_h = nn.Conv2d(share, share, (band, 1), padding=(band // 2, 0), groups=share)
        self.shares = (dim - 3 * share, share, share, share)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        same, square, horizontal, vertical = x.split(self.shares, 1)
        return torch.cat((same, self.dwconv_hw(square), self.dwconv_w(horizontal), self.dwconv_h(vertical)), 1)


class Mlp(nn.Module):
    """Two pointwise convolutions with GELU between.

    Args:
        dim: C.
        hidden: Channels between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Inception depthwise convolution, batch normalisation and a pointwise MLP, on a residual path.

    Args:
        dim: C.
        mlp_ratio: Of the MLP's inner width to C.
        band_kernel_size: Of the bands.
        branch_ratio: Of the branches.
        drop_path: Probability of dropping the branch.
        ls_init_value: Initial value of the branch's scale ``gamma``.
    """

    def __init__(
        self,
        dim: int,
        mlp_ratio: int,
        band_kernel_size: int,
        branch_ratio: float,
        drop_path: float,
        ls_init_value: float,
    ) -> None:
        super().__init__()
        self.token_mixer = InceptionDWConv2d(dim, band_kernel_size, branch_ratio)
        self.norm = nn.BatchNorm2d(dim)
        self.mlp = Mlp(dim, mlp_ratio * dim)
        self.gamma = nn.Parameter(torch.full((dim,), ls_init_value))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = self.mlp(self.norm(self.token_mixer(x)))
        return x + self.drop_path(y * self.gamma[:, None, None])


class Stage(nn.Module):
    """Blocks at one resolution, behind what halves it.

    Args:
        in_dim: Channels that come in; None: there is nothing to halve.
        dim: C.
        blocks: The blocks.
    """

    def __init__(self, in_dim: int | None, dim: int, blocks: list[Block]) -> None:
        super().__init__()
        halve = [] if in_dim is None else [nn.BatchNorm2d(in_dim), nn.Conv2d(in_dim, dim, 2, stride=2)]
        self.downsample = nn.Sequential(*halve)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor, with_cp: bool) -> Tensor:
        """Map [N, in_dim, H, W] to [N, C, H / 2, W / 2], rounded down."""
        x = self.downsample(x)
        for block in self.blocks.children():
            x = run(block, x, with_cp)
        return x


@MODELS.register_module()
class InceptionNeXt(BaseModule):
    """InceptionNeXt as a backbone.

    Args:
        arch: A name in ``ARCHS``, or a dict with its keys: four ``depths`` and ``dims``, ``band_kernel_size`` and
            ``branch_ratio``.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 3.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        ls_init_value: Of the blocks' scales.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "tiny",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        ls_init_value: float = 1e-6,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": ["Conv2d", "Linear"], "std": 0.02, "bias": 0.0})
        numbers = resolve_arch(arch, ARCHS, "InceptionNeXt")
        dims = numbers["dims"]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "InceptionNeXt")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        self.stem = nn.Sequential(nn.Conv2d(in_channels, dims[0], 4, stride=4), nn.BatchNorm2d(dims[0]))
        mixing = (numbers["band_kernel_size"], numbers["branch_ratio"])
        self.stages = nn.ModuleList()
        for i, rates in enumerate(drop_path_rates(drop_path_rate, numbers["depths"])):
            blocks = [Block(dims[i], MLP_RATIOS[i], *mixing, rate, ls_init_value) for rate in rates]
            self.stages.append(Stage(dims[i - 1] if i else None, dims[i], blocks))
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``; odd sizes lose their last row or column."""
        check_input(x, self.in_channels, "InceptionNeXt")
        x = self.stem(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            x = self.stages[i](x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> InceptionNeXt:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        parts: list[list[nn.Module]] = [[part] for part in (self.stem, *self.stages)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def stage_of(self, name: str) -> tuple[int, int | None] | None:
        """Return the stage that a downsampling begins, for layer-wise decay, and None for other parameters' names."""
        match = re.match(r"stages\.(\d)\.downsample\.", name)
        return None if match is None else (int(match[1]), None)


class MlpHead(nn.Module):
    """Mean over the pixels, then an MLP whose norm follows its activation.

    Args:
        in_channels: C of the last map.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_channels, 3 * in_channels)
        self.norm = nn.LayerNorm(3 * in_channels, eps=1e-6)
        self.fc2 = nn.Linear(3 * in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        return self.fc2(self.norm(F.gelu(self.fc1(x.mean((-2, -1))))))


@MODELS.register_module()
class InceptionNeXtTail(nn.Module):
    """What follows the trunk in the official classification network: a pooled MLP of three times the width.

    Args:
        in_channels: C of the last map.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = MlpHead(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map the last of the feature maps, [N, C, H, W], to logits [N, K]."""
        return self.head(feats[-1])


register_family(
    InceptionNeXt,
    {f"inceptionnext_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"out_indices": (3,)},
    head={"type": "ClsHead", "tail": {"type": "InceptionNeXtTail"}},
    tail_keys=r"head\.",
)
