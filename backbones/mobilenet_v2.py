"""MobileNetV2: Inverted Residuals and Linear Bottlenecks (Sandler et al., CVPR 2018, arXiv:1801.04381).

Features: eight maps, of the seven stages and of the last 1x1 convolution. [N, 3, H, W] to [N, C, H/s, W/s], rounded up,
with s = 2, 4, 8, 16, 16, 32, 32, 32. Arguments and keys are those of mmdet,
https://github.com/open-mmlab/mmdetection; those of mmseg, and the files of torchvision and mmpretrain, are renamed when
they are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import StateDict, register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    round_channels,
    run,
)
from foveal.errors import ConfigError
from foveal.layers import DropPath
from foveal.layers.state_dict import adapt
from foveal.registry import MODELS

Config = dict[str, Any]

# expansion, channels, depth and first stride of the stages
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# the sizes of their maps, from a quarter of the image's sides on; the first counts with the second
_SIZES = (0, 0, 1, 2, 2, 3, 3)


class InvertedResidual(nn.Module):
    """A pointwise, a depthwise 3x3 and a linear pointwise convolution; a residual path where the shapes allow it.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
        expand_ratio: Of the inner width to ``in_channels``; 1: there is no first convolution.
        drop_path: Probability of dropping the branch of a residual path.
        layers: ``conv_cfg``, ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dilation: int,
        expand_ratio: int,
        drop_path: float,
        layers: Config,
    ) -> None:
        super().__init__()
        inner = in_channels * expand_ratio
        self.residual = stride == 1 and in_channels == out_channels
        self.expand_conv = ConvModule(in_channels, inner, 1, **layers) if expand_ratio != 1 else None
        spread: Config = {"stride": stride, "padding": dilation, "dilation": dilation}
        self.depthwise_conv = ConvModule(inner, inner, 3, groups=inner, **spread, **layers)
        self.linear_conv = ConvModule(inner, out_channels, 1, **{**layers, "act_cfg": None})
        self.drop_path = DropPath(drop_path)
        self.register_load_state_dict_pre_hook(adapt)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], rounded up."""
        y = x if self.expand_conv is None else self.expand_conv(x)
        y = self.linear_conv(self.depthwise_conv(y))
        return x + self.drop_path(y) if self.residual else y

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Rename the convolutions, which mmseg numbers: ``conv.0`` to ``conv.2``, or ``conv.1``."""
        names = [name for name, _ in self.named_children() if name.endswith("_conv")]
        for key in [key for key in state_dict if key.startswith(f"{prefix}conv.")]:
            number, _, rest = key.removeprefix(f"{prefix}conv.").partition(".")
            if number.isdigit() and int(number) < len(names):
                state_dict[f"{prefix}{names[int(number)]}.{rest}"] = state_dict.pop(key)


@MODELS.register_module()
class MobileNetV2(BaseModule):
    """MobileNetV2 with mmdet's and mmseg's arguments.

    Args:
        widen_factor: Multiplies the channels, which are then rounded to multiples of 8.
        strides: First stride of each stage, mmseg's. None: those of the paper.
        dilations: Of each stage's first block, mmseg's. A network with ``strides`` or ``dilations`` is mmseg's, which
            ends with stage 6 and has no last convolution.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 7; 7 is the last 1x1 convolution.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages, up to 7: no gradient, eval mode.
        conv_cfg: Convolutions; None: nn.Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activations.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is Kaiming for convolutions and 1 for norms.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``out_indices`` or ``frozen_stages`` names what is not there, or strides and dilations are not
            one a stage.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        in_channels: int = 3,
        out_indices: Sequence[int] = (1, 2, 4, 7),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {"type": "BN"},  # noqa: B006
        act_cfg: Config = {"type": "ReLU6"},  # noqa: B006
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        kaiming: list[Config] = [
            {"type": "Kaiming", "layer": "Conv2d"},
            {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
        ]
        super().__init__(init_cfg or kaiming)
        self.in_channels = in_channels
        for_pixels = strides is not None or dilations is not None
        self.out_indices = check_out_indices(out_indices, len(STAGES) + (not for_pixels), "MobileNetV2")
        steps = [stride for *_, stride in STAGES] if strides is None else strides
        spreads = [1] * len(STAGES) if dilations is None else dilations
        if not len(steps) == len(spreads) == len(STAGES):
            raise ConfigError(f"MobileNetV2 has {len(STAGES)} stages, got strides={strides} and dilations={dilations}")
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        layers: Config = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        channels, total = round_channels(32 * widen_factor), 2
        self.conv1 = ConvModule(in_channels, channels, 3, stride=2, padding=1, **layers)
        widths, sizes = [], []
        rates = drop_path_rates(drop_path_rate, [depth for _, _, depth, _ in STAGES])
        for i, (expansion, width, *_) in enumerate(STAGES):
            width = round_channels(width * widen_factor)
            blocks = []
            for j, rate in enumerate(rates[i]):
                stride, dilation = (1, 1) if j else (steps[i], spreads[i])
                blocks.append(InvertedResidual(channels, width, stride, dilation, expansion, rate, layers))
                channels = width
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            total *= steps[i]
            widths.append(width)
            sizes.append(total)
        last = int(1280 * max(widen_factor, 1.0))
        self.conv2: Any = None if for_pixels else ConvModule(channels, last, 1, **layers)
        self.out_channels = tuple([*widths, last][i] for i in self.out_indices)
        self.out_strides = tuple([*sizes, total][i] for i in self.out_indices)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "MobileNetV2")
        x = self.conv1(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            for block in getattr(self, f"layer{i + 1}") if i < len(STAGES) else [self.conv2]:
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> MobileNetV2:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        parts = [[self.conv1], *([getattr(self, f"layer{i + 1}")] for i in range(len(STAGES)))]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def stage_of(self, name: str) -> tuple[int, int] | None:
        """Return the stage and block of a parameter, for layer-wise decay, and None for the stem's names.

        A stage is all that works at one size: strides up to 4, 8, 16, 32.
        """
        if name.startswith("conv2."):
            return 3, sum(STAGES[i][2] for i in (5, 6))
        match = re.match(r"layer(\d)\.(\d+)\.", name)
        if match is None:
            return None
        layer, block = int(match[1]) - 1, int(match[2])
        same = [i for i in range(layer) if _SIZES[i] == _SIZES[layer]]
        return _SIZES[layer], block + sum(STAGES[i][2] for i in same)


_BLOCKS = [f"layer{i}.{j}" for i, (_, _, depth, _) in enumerate(STAGES, 1) for j in range(depth)]
_PARTS = ("expand_conv", "depthwise_conv", "linear_conv")


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Turn torchvision's and mmpretrain's key names into mmdet's."""
    return {_renamed(key): value for key, value in official.items()}


def _renamed(key: str) -> str:
    if found := re.fullmatch(r"(layer\d\.\d)\.conv\.(\d)\.(.+)", key):  # mmpretrain
        block, place, rest = found.groups()
        return f"{block}.{_parts(block)[int(place)]}.{rest}"
    if found := re.fullmatch(r"features\.(0|18)\.([01])\.(.+)", key):  # torchvision
        number, layer, rest = found.groups()
        return f"{'conv2' if int(number) else 'conv1'}.{('conv', 'bn')[int(layer)]}.{rest}"
    if found := re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(?:([01])\.)?(\w+)", key):
        number, place, layer, rest = found.groups()
        block = _BLOCKS[int(number) - 1]
        parts = _parts(block)
        # the last convolution has no activation and is therefore not wrapped with its norm
        part, inner = (parts[int(place)], int(layer)) if layer else (parts[-1], int(place) - len(parts) + 1)
        return f"{block}.{part}.{('conv', 'bn')[inner]}.{rest}"
    return re.sub(r"^classifier\.1\.", "fc.", key)


def _parts(block: str) -> tuple[str, ...]:
    return _PARTS[1:] if block == "layer1.0" else _PARTS


register_family(
    MobileNetV2,
    {"mobilenet_v2": {}},
    trunk={"out_indices": (7,)},
    head={"type": "LinearClsHead"},
    tail_keys=r"fc\.",
    convert=convert_state_dict,
)
