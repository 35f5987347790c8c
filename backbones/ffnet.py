"""The ResNets of FFNet (Mehta et al., CVPR workshops 2022, arXiv:2206.08236): many basic blocks, thin or in few stages.

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded up;
half of that with ``half_size``. Keys: https://github.com/Qualcomm-AI-research/FFNet, ``backbone_model.``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.backbones.resnet import BasicBlock, Bottleneck
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS

BN = {"type": "BN"}
# stem: A is ResNet's, B two strided convolutions, C three, after which comes the second stage
WIDE, SLIM, NARROW, NARROW_SLIM = (64, 128, 256, 512), (64, 128, 192, 320), (64, 96, 160, 320), (64, 64, 128, 256)


_WIDE = {
    "18": (2, 2, 2, 2),
    "34": (3, 4, 6, 3),
    "56": (4, 8, 12, 3),
    "86": (8, 12, 16, 6),
    "134": (8, 18, 28, 12),
    "150": (16, 18, 28, 12),
}
_BOTTLENECK = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3)}
_SLIM = {
    "22": (2, 3, 3, 2),
    "30": (3, 4, 4, 3),
    "40": (4, 5, 6, 4),
    "54": (5, 8, 8, 5),
    "78": (6, 12, 12, 8),
    "86": (8, 12, 16, 6),
    "150": (16, 18, 28, 12),
}
_NARROW = {"46": (6, 8, 8), "74": (8, 12, 16), "122": (16, 24, 20)}
_ROWS = {
    **{name: ("A", depths, WIDE, False) for name, depths in _WIDE.items()},
    **{name: ("A", depths, WIDE, True) for name, depths in _BOTTLENECK.items()},
    **{f"{name}S": ("B", depths, SLIM, False) for name, depths in _SLIM.items()},
    **{f"{name}N": ("C", depths, NARROW, False) for name, depths in _NARROW.items()},
    **{f"{name}NS": ("C", depths, NARROW_SLIM, False) for name, depths in _NARROW.items()},
}
ARCHS: dict[str, dict[str, Any]] = {
    name: dict(zip(("stem", "depths", "channels", "bottleneck"), row, strict=True)) for name, row in _ROWS.items()
}


class Smoothing(nn.Module):
    """Gaussian blur of each channel, at every second pixel; the key of its kernel is ``weight``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        point = np.zeros((5, 5), np.float32)
        point[2, 2] = 1
        kernel = torch.from_numpy(gaussian_filter(point, sigma=0.7))
        self.register_buffer("weight", kernel.repeat(channels, 1, 1, 1))
        self.weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, (H - 1) / 2, (W - 3) / 2], rounded down: only the height is padded, officially."""
        return F.conv2d(F.pad(x, (0, 0, 1, 1), mode="reflect"), self.weight, stride=2, groups=x.shape[1])


@MODELS.register_module()
class FFNetResNet(BaseModule):
    """FFNet's ResNet as a backbone.

    Args:
        arch: Depth and form in the official names: ``18``, ``34``, ``50``, ``56``, ``86``, ``101``, ``134``, ``150``;
            slim ``22S`` to ``150S``; of three stages ``46N``, ``74N`` and ``122N``, slim ``46NS`` and so on. Or a dict
            with its keys: ``stem``, ``depths``, ``channels`` and ``bottleneck``.
        in_channels: Channels of the images.
        out_indices: Maps that are returned, rising, 0 to 3.
        half_size: The first stage strides, too: all maps are half as large. The official names have a ``d`` before the
            letters; not with three stages.
        pre_downsampling: Blur the image and take every second pixel first, as the official mobile networks are scored.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation keeps its statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official one, a normal distribution.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "86S",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        half_size: bool = False,
        pre_downsampling: bool = False,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "Normal", "layer": "Conv2d", "std": 0.01, "bias": 0.0001})
        numbers = resolve_arch(arch, ARCHS, "FFNetResNet")
        block, widths = Bottleneck if numbers["bottleneck"] else BasicBlock, numbers["channels"]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, 4, "FFNetResNet")
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.smoothing = Smoothing(in_channels) if pre_downsampling else None

        stem = numbers["stem"]
        self.early = 1 if stem == "C" else 0  # maps that the stem makes
        steps = {"A": ((64, 7, 2),), "B": ((32, 3, 2), (64, 3, 2)), "C": ((64, 3, 2), (64, 3, 2), (widths[0], 3, 1))}
        self.stem: list[str] = []
        channels = in_channels
        for i, (width, kernel, stride) in enumerate(steps[stem], start=int(stem == "A")):
            self.add_module(f"conv{i}", nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(width))
            self.stem += [f"conv{i}", f"bn{i}"]
            channels = width
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "A" else nn.Identity()
        rates = drop_path_rates(drop_path_rate, numbers["depths"])
        for i, (depth, width) in enumerate(zip(numbers["depths"], widths[self.early :], strict=True)):
            stride = 2 if i or self.early or half_size else 1
            blocks = []
            for j in range(depth):
                shortcut = None
                if j == 0 and (stride > 1 or channels != width * block.expansion):
                    shortcut = nn.Sequential(
                        nn.Conv2d(channels, width * block.expansion, 1, stride, bias=False),
                        nn.BatchNorm2d(width * block.expansion),
                    )
                blocks.append(block(channels, width, 1 if j else stride, 1, shortcut, "pytorch", BN, None, rates[i][j]))
                channels = width * block.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        scale = 4 * (2 if half_size and not self.early else 1) * (2 if pre_downsampling else 1)
        self.out_channels = tuple(widths[i] * block.expansion for i in self.out_indices)
        self.out_strides = tuple(scale * 2**i for i in self.out_indices)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "FFNetResNet")
        if self.smoothing is not None:
            x = self.smoothing(x)
        for conv, norm in zip(self.stem[::2], self.stem[1::2], strict=True):
            x = F.relu(getattr(self, norm)(getattr(self, conv)(x)))
        x = self.maxpool(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            if i >= self.early:
                for block in getattr(self, f"layer{i + 1 - self.early}"):
                    x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> FFNetResNet:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts = [[getattr(self, name) for name in self.stem]]
        parts += [[getattr(self, f"layer{i + 1}")] for i in range(4 - self.early)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take the backbone out of an official network, whose blur, where this one has none, is left out."""
        take_over(state_dict, "backbone_model.", prefix)
        blurs = self.smoothing is not None
        take_over(state_dict, "smoothing.", f"{prefix}smoothing.", lambda name: name if blurs else None)
