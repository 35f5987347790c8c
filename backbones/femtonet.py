"""FemtoNet, the backbone of FemtoDet: object detection for little energy (Tu et al., ICCV 2023, arXiv:2301.06719).

Features: seven maps, one a stage. [N, 3, H, W] to [N, C, H/s, W/s], rounded up, with s = 2, 4, 8, 16, 16, 32, 32. It is
MobileNetV2 with fewer blocks, whose depthwise convolutions are trained with a second branch that sees differences
("instance boundary enhancement"). Arguments and keys are those of https://github.com/yh-pengtu/FemtoDet.
`FemtoNet.switch_to_deploy` fuses the branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    round_channels,
    run,
)
from foveal.layers import DropPath
from foveal.registry import MODELS

Config = dict[str, Any]

# expansion, channels, depth, first stride and groups of the last convolution of the stages
STAGES = (
    (1, 16, 1, 1, 1),
    (4, 24, 2, 2, 1),
    (4, 32, 2, 2, 1),
    (4, 64, 3, 2, 1),
    (4, 96, 2, 1, 1),
    (4, 160, 2, 2, 2),
    (4, 320, 1, 1, 2),
)
BN = {"type": "BN"}
RELU6 = {"type": "ReLU6"}


class IBEConvModule(nn.Module):
    """A 3x3 convolution and its difference from a learnt share of the window's sum, each normalised, added.

    Keys are the official ones: ``conv``, ``bn``, ``bn2``, ``theta``.

    Args:
        channels: C, each convolved by itself.
        stride: Of the convolution.
        act_cfg: mmcv's activation config.

    Shape:
        [N, C, H, W] to [N, C, H / stride, W / stride], rounded up.
    """

    def __init__(self, channels: int, stride: int, act_cfg: Config) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(channels)
        self.bn2: nn.Module = nn.BatchNorm2d(channels)
        self.act = build_activation_layer(act_cfg)
        self.theta = nn.Parameter(torch.zeros(1))
        self.deploy = False

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, H / stride, W / stride], rounded up."""
        y = self.conv(x)
        if self.deploy:
            return self.act(y)
        centre = self.conv.weight.sum((2, 3), keepdim=True)
        middle = F.conv2d(x, centre, stride=self.conv.stride, groups=self.conv.groups)
        return self.act(self.bn(y) + self.bn2(y - self.theta.sigmoid() * middle))

    @torch.no_grad()
    def fuse(self) -> None:
        """Turn both branches into one convolution with a bias."""
        if self.deploy:
            return
        plain, shift = _scale_and_shift(self.bn)
        edge, edge_shift = _scale_and_shift(self.bn2)
        weight = self.conv.weight
        kernel = weight * (plain + edge)[:, None, None, None]
        kernel[:, :, 1, 1] -= self.theta.sigmoid() * edge[:, None] * weight.sum((2, 3))
        fused = nn.Conv2d(len(weight), len(weight), 3, self.conv.stride[0], 1, groups=len(weight))
        self.conv = fused.to(weight)
        self.conv.weight.copy_(kernel)
        self.conv.bias.copy_(shift + edge_shift)  # type: ignore[union-attr]
        del self.bn, self.bn2, self.theta
        self.deploy = True


class InvertedResidual(nn.Module):
    """A pointwise, a depthwise and a linear pointwise convolution, keys ``conv.i``; with a residual path where it fits.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Of the depthwise convolution.
        expand_ratio: Of the inner width to ``in_channels``; 1: there is no first convolution.
        groups: Of the last convolution.
        diff_conv: The depthwise convolution is an `IBEConvModule`.
        drop_path: Probability of dropping the branch of a residual path.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expand_ratio: int,
        groups: int,
        diff_conv: bool,
        drop_path: float,
        layers: Config,
    ) -> None:
        super().__init__()
        inner = in_channels * expand_ratio
        self.residual = stride == 1 and in_channels == out_channels
        first = [ConvModule(in_channels, inner, 1, **layers)] if expand_ratio != 1 else []
        depthwise: nn.Module = (
            IBEConvModule(inner, stride, layers["act_cfg"])
            if diff_conv
            else ConvModule(inner, inner, 3, stride=stride, padding=1, groups=inner, **layers)
        )
        last = ConvModule(inner, out_channels, 1, groups=groups, **{**layers, "act_cfg": None})
        self.conv = nn.Sequential(*first, depthwise, last)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], rounded up."""
        y = self.conv(x)
        return x + self.drop_path(y) if self.residual else y


@MODELS.register_module()
class FemtoNet(BaseModule):
    """FemtoDet's backbone with the official arguments.

    Args:
        widen_factor: Multiplies the channels, which are then rounded to multiples of 8.
        out_indices: Stages whose maps are returned, rising, 0 to 6.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        diff_conv: Train the depthwise convolutions with a second branch.
        conv_cfg: Convolutions; None: nn.Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activations.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is Kaiming for convolutions and 1 for norms.
        in_channels: Channels of the images.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 4, 6),
        frozen_stages: int = -1,
        diff_conv: bool = False,
        conv_cfg: Config | None = None,
        norm_cfg: Config = BN,
        act_cfg: Config = RELU6,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
    ) -> None:
        kaiming: list[Config] = [
            {"type": "Kaiming", "layer": "Conv2d"},
            {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
        ]
        super().__init__(init_cfg or kaiming)
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(STAGES), "FemtoNet")
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        layers: Config = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        channels, total = round_channels(32 * widen_factor), 2
        self.conv1 = ConvModule(in_channels, channels, 3, stride=2, padding=1, **layers)
        widths, strides = [], []
        rates = drop_path_rates(drop_path_rate, [stage[2] for stage in STAGES])
        for i, (expansion, width, _, stride, groups) in enumerate(STAGES):
            width = round_channels(width * widen_factor)
            blocks = []
            for j, rate in enumerate(rates[i]):
                step = 1 if j else stride
                blocks.append(InvertedResidual(channels, width, step, expansion, groups, diff_conv, rate, layers))
                channels = width
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            total *= stride
            widths.append(width)
            strides.append(total)
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i] for i in self.out_indices)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "FemtoNet")
        x = self.conv1(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            for block in getattr(self, f"layer{i + 1}"):
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def switch_to_deploy(self) -> None:
        """Fuse the branches of the depthwise convolutions, in place; for inference. Once fused, do nothing."""
        for module in list(self.modules()):
            if isinstance(module, IBEConvModule):
                module.fuse()

    def train(self, mode: bool = True) -> FemtoNet:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        parts = [[self.conv1], *([getattr(self, f"layer{i + 1}")] for i in range(len(STAGES)))]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


def _scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """The factor and the summand [C] of a batch normalisation in eval mode."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale
