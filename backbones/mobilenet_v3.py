"""MobileNetV3, dilated for segmentation (Howard et al., ICCV 2019, arXiv:1905.02244).

Features: a map after each layer, 0 to 16 (``large``) or 0 to 12 (``small``), down to an eighth of the image's sides
Arguments, keys and the padding of strided convolutions, that of
TensorFlow, are those of mmseg, https://github.com/open-mmlab/mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    round_channels,
    run,
)
from foveal.layers import DropPath
from foveal.registry import MODELS

Config = dict[str, Any]

# of each layer: kernel, inner channels, channels, squeeze-and-excitation, activation, stride
_LARGE = (
    (3, 16, 16, False, "ReLU", 1), (3, 64, 24, False, "ReLU", 2), (3, 72, 24, False, "ReLU", 1),
    (5, 72, 40, True, "ReLU", 2), (5, 120, 40, True, "ReLU", 1), (5, 120, 40, True, "ReLU", 1),
    (3, 240, 80, False, "HSwish", 2), (3, 200, 80, False, "HSwish", 1), (3, 184, 80, False, "HSwish", 1),
    (3, 184, 80, False, "HSwish", 1), (3, 480, 112, True, "HSwish", 1), (3, 672, 112, True, "HSwish", 1),
    (5, 672, 160, True, "HSwish", 2), (5, 960, 160, True, "HSwish", 1), (5, 960, 160, True, "HSwish", 1),
)  # fmt: skip
_SMALL = (
    (3, 16, 16, True, "ReLU", 2), (3, 72, 24, False, "ReLU", 2), (3, 88, 24, False, "ReLU", 1),
    (5, 96, 40, True, "HSwish", 2), (5, 240, 40, True, "HSwish", 1), (5, 240, 40, True, "HSwish", 1),
    (5, 120, 48, True, "HSwish", 1), (5, 144, 48, True, "HSwish", 1), (5, 288, 96, True, "HSwish", 2),
    (5, 576, 96, True, "HSwish", 1), (5, 576, 96, True, "HSwish", 1),
)  # fmt: skip

# dilated: the layers from which on convolutions have dilation 2 and 4; their strides become 1
ARCHS: dict[str, Config] = {
    "small": {"layers": _SMALL, "last": 576, "dilated": (4, 9)},
    "large": {"layers": _LARGE, "last": 960, "dilated": (7, 13)},
}


class SELayer(nn.Module):
    """Squeeze-and-excitation with mmseg's keys; a quarter of the channels inside, the gate piecewise linear.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = round_channels(channels // 4)
        self.conv1 = ConvModule(channels, inner, 1, act_cfg={"type": "ReLU"})
        self.conv2 = ConvModule(inner, channels, 1, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x * F.hardsigmoid(self.conv2(self.conv1(x.mean((-2, -1), keepdim=True))))


class InvertedResidualV3(nn.Module):
    """A pointwise, a depthwise and a linear pointwise convolution with squeeze-and-excitation before the last.

    Args:
        in_channels: Channels that come in.
        inner: Channels of the depthwise convolution.
        out_channels: Channels that go out.
        kernel_size: Of the depthwise convolution.
        padding: Of the depthwise convolution, ``conv_cfg`` and numbers.
        squeeze: With squeeze-and-excitation.
        residual: With a path around.
        drop_path: Probability of dropping the branch of a residual path.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        out_channels: int,
        kernel_size: int,
        padding: Config,
        squeeze: bool,
        residual: bool,
        drop_path: float,
        layers: Config,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.expand_conv = ConvModule(in_channels, inner, 1, **layers) if in_channels != inner else None
        self.depthwise_conv = ConvModule(inner, inner, kernel_size, groups=inner, **{**layers, **padding})
        self.se = SELayer(inner) if squeeze else None
        self.linear_conv = ConvModule(inner, out_channels, 1, **{**layers, "act_cfg": None})
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], rounded up."""
        y = x if self.expand_conv is None else self.expand_conv(x)
        y = self.depthwise_conv(y)
        if self.se is not None:
            y = self.se(y)
        y = self.linear_conv(y)
        return x + self.drop_path(y) if self.residual else y


@MODELS.register_module()
class MobileNetV3(BaseModule):
    """MobileNetV3 with mmseg's arguments.

    Args:
        arch: ``small`` or ``large``, or a dict of the numbers of `ARCHS`.
        in_channels: Channels of the images.
        conv_cfg: Convolutions; None: nn.Conv2d.
        norm_cfg: Norm layers.
        out_indices: Layers whose maps are returned, rising.
        frozen_stages: -1 none, n the layers 0 to n: no gradient, eval mode.
        reduction_factor: Divides the channels of the last, 32 times smaller layers.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is Kaiming for convolutions and 1 for norms.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If there is no such ``arch``, or ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Config = "small",
        in_channels: int = 3,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {"type": "BN"},  # noqa: B006
        out_indices: Sequence[int] = (0, 1, 12),
        frozen_stages: int = -1,
        reduction_factor: int = 1,
        drop_path_rate: float = 0.0,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        kaiming: list[Config] = [
            {"type": "Kaiming", "layer": "Conv2d"},
            {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
        ]
        super().__init__(init_cfg or kaiming)
        numbers = resolve_arch(arch, ARCHS, "MobileNetV3")
        table, (twice, fourfold) = numbers["layers"], numbers["dilated"]
        self.count = len(table) + 2
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, self.count, "MobileNetV3")
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        adaptive = {"type": "Conv2dAdaptivePadding"}
        channels, total = 16, 2
        self.layer0 = ConvModule(
            in_channels, channels, 3, 2, 1, conv_cfg=adaptive, norm_cfg=norm_cfg, act_cfg={"type": "HSwish"}
        )
        widths, strides = [channels], [total]
        rates = drop_path_rates(drop_path_rate, [len(table)])[0]
        for i, (kernel, inner, width, squeeze, act, stride) in enumerate(table, 1):
            if i >= fourfold:
                inner, width = inner // reduction_factor, width // reduction_factor
            dilation = 1 if i < twice else 2 if i < fourfold else 4
            step = stride if dilation == 1 or i not in (twice, fourfold) else 1
            # mmseg leaves the kind of a convolution whose stride it takes away, and that kind pads by itself
            padding: Config = {"stride": step, "dilation": dilation, "padding": kernel // 2 * dilation}
            if stride == 2:
                padding["conv_cfg"] = adaptive
            layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": {"type": act}}
            residual = stride == 1 and channels == width
            block = InvertedResidualV3(channels, inner, width, kernel, padding, squeeze, residual, rates[i - 1], layers)
            self.add_module(f"layer{i}", block)
            channels, total = width, total * step
            widths.append(channels)
            strides.append(total)
        last = ConvModule(
            channels, numbers["last"], 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg={"type": "HSwish"}
        )
        self.add_module(f"layer{len(table) + 1}", last)
        self.out_channels = tuple([*widths, numbers["last"]][i] for i in self.out_indices)
        self.out_strides = tuple([*strides, total][i] for i in self.out_indices)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "MobileNetV3")
        maps = []
        for i in range(self.out_indices[-1] + 1):
            x = run(getattr(self, f"layer{i}"), x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> MobileNetV3:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        parts = [[getattr(self, f"layer{i}")] for i in range(self.count)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def stage_of(self, name: str) -> tuple[int, int] | None:
        """Return the stage and block of a parameter, for layer-wise decay: one stage of all layers."""
        layer = int(name.split(".")[0].removeprefix("layer"))
        return (0, layer - 1) if layer else None
