"""ResNet: Deep Residual Learning (He et al., CVPR 2016, arXiv:1512.03385) and its V1c and V1d (arXiv:1812.01187).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded up.
Keys are those of torchvision, https://github.com/pytorch/vision, which mmdet and mmseg share; arguments are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import register_family
from foveal.backbones.contract import apply_train_mode, check_input, check_out_indices, drop_path_rates, run
from foveal.errors import ConfigError
from foveal.layers import DropPath
from foveal.registry import MODELS

Config = dict[str, Any]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions on a residual path; the first one has the stride.

    Args:
        in_channels: Channels that come in.
        planes: Channels inside, and out.
        stride: Of the first convolution.
        dilation: Of the first convolution, as in mmdet.
        downsample: The shortcut where shapes differ.
        style: Without effect here.
        norm_cfg: Norm layers.
        conv_cfg: Convolutions.
        drop_path: Probability of dropping the branch.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        style: str,
        norm_cfg: Config,
        conv_cfg: Config | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.conv1 = build_conv_layer(
            conv_cfg, in_channels, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm1_name = _add_norm(self, norm_cfg, planes, 1)
        self.conv2 = build_conv_layer(conv_cfg, planes, planes, 3, padding=1, bias=False)
        self.norm2_name = _add_norm(self, norm_cfg, planes, 2)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path)

    @property
    def last_norm(self) -> Any:
        """The norm that closes the branch."""
        return getattr(self, self.norm2_name)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, planes, H / stride, W / stride]."""
        y = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        y = self.drop_path(self.last_norm(self.conv2(y)))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions on a residual path.

    Args:
        in_channels: Channels that come in.
        planes: Channels of the 3x3 convolution; four times as many come out.
        stride: Of the 3x3 convolution (``style`` pytorch) or of the first 1x1 one (``style`` caffe).
        dilation: Of the 3x3 convolution.
        downsample: The shortcut where shapes differ.
        style: ``pytorch`` or ``caffe``.
        norm_cfg: Norm layers.
        conv_cfg: Convolutions.
        drop_path: Probability of dropping the branch.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        style: str,
        norm_cfg: Config,
        conv_cfg: Config | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        stride1, stride2 = (1, stride) if style == "pytorch" else (stride, 1)
        self.conv1 = build_conv_layer(conv_cfg, in_channels, planes, 1, stride=stride1, bias=False)
        self.norm1_name = _add_norm(self, norm_cfg, planes, 1)
        self.conv2 = build_conv_layer(
            conv_cfg, planes, planes, 3, stride=stride2, padding=dilation, dilation=dilation, bias=False
        )
        self.norm2_name = _add_norm(self, norm_cfg, planes, 2)
        self.conv3 = build_conv_layer(conv_cfg, planes, 4 * planes, 1, bias=False)
        self.norm3_name = _add_norm(self, norm_cfg, 4 * planes, 3)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path)

    @property
    def last_norm(self) -> Any:
        """The norm that closes the branch."""
        return getattr(self, self.norm3_name)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, 4 * planes, H / stride, W / stride]."""
        y = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        y = self.relu(getattr(self, self.norm2_name)(self.conv2(y)))
        y = self.drop_path(self.last_norm(self.conv3(y)))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


ARCHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@MODELS.register_module()
class ResNet(BaseModule):
    """ResNet with mmdet's and mmseg's arguments.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the images.
        stem_channels: Channels after the stem; None: ``base_channels``.
        base_channels: Width of the first stage's inner convolutions.
        num_stages: 1 to 4.
        strides: Of the first block of each stage.
        dilations: Of each stage.
        out_indices: Stages whose maps are returned, rising.
        style: Where a bottleneck has its stride: ``pytorch`` the 3x3 convolution, ``caffe`` the first 1x1 one.
        deep_stem: Three 3x3 convolutions in place of the 7x7 one. None: as the class has it, no for ResNet.
        avg_down: Average pooling in place of the stride of the shortcut's convolution. None: as the class has it.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        conv_cfg: Convolutions; None: nn.Conv2d.
        norm_cfg: Norm layers: BN, SyncBN (plain batch normalisation where torch.distributed is not set up), GN …;
            ``requires_grad=False`` freezes their scale and shift.
        norm_eval: Batch normalisation keeps and uses its running statistics while training. None: as the class has it,
            yes for ResNet, which is mmdet's default (mmseg's configs set it).
        contract_dilation: Halve the dilation of a dilated stage's first block.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        with_cp: Compute activations again in the backward pass to save memory.
        zero_init_residual: Start with the last norm of each block at zero.
        init_cfg: mmengine's; the default is Kaiming for convolutions and 1 for norms.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If there is no such depth, style, stage, or if strides and dilations are not one a stage.
    """

    DEEP_STEM = False
    AVG_DOWN = False
    NORM_EVAL = True

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = "pytorch",
        deep_stem: bool | None = None,
        avg_down: bool | None = None,
        frozen_stages: int = -1,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {"type": "BN", "requires_grad": True},  # noqa: B006
        norm_eval: bool | None = None,
        contract_dilation: bool = False,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        kaiming: list[Config] = [
            {"type": "Kaiming", "layer": "Conv2d"},
            {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
        ]
        super().__init__(init_cfg or kaiming)
        _check(depth, num_stages, strides, dilations, style)
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, num_stages, f"this ResNet-{depth}")
        self.frozen_stages = frozen_stages
        self.norm_eval = self.NORM_EVAL if norm_eval is None else norm_eval
        self.with_cp = with_cp
        self.zero_init_residual = zero_init_residual and init_cfg is None

        block, depths = ARCHS[depth]
        channels = stem_channels or base_channels
        self.deep_stem = self.DEEP_STEM if deep_stem is None else deep_stem
        pooled = self.AVG_DOWN if avg_down is None else avg_down
        self._add_stem(in_channels, channels, conv_cfg, norm_cfg)
        rates = drop_path_rates(drop_path_rate, depths)
        widths, stride, total = [], 4, []
        for i in range(num_stages):
            planes = base_channels * 2**i
            shortcut = None
            if strides[i] != 1 or channels != planes * block.expansion:
                shortcut = _shortcut(channels, planes * block.expansion, strides[i], pooled, conv_cfg, norm_cfg)
            blocks = []
            for j in range(depths[i]):
                first = j == 0
                dilation = dilations[i] // 2 if first and contract_dilation and dilations[i] > 1 else dilations[i]
                steps = (strides[i], dilation, shortcut) if first else (1, dilation, None)
                blocks.append(block(channels, planes, *steps, style, norm_cfg, conv_cfg, rates[i][j]))
                channels = planes * block.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            stride *= strides[i]
            widths.append(channels)
            total.append(stride)
        self.num_stages = num_stages
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(total[i] for i in self.out_indices)
        self.train()

    def _add_stem(self, in_channels: int, channels: int, conv_cfg: Config | None, norm_cfg: Config) -> None:
        if self.deep_stem:
            half = channels // 2
            layers: list[nn.Module] = []
            for a, b, stride in ((in_channels, half, 2), (half, half, 1), (half, channels, 1)):
                conv = build_conv_layer(conv_cfg, a, b, 3, stride=stride, padding=1, bias=False)
                layers += [conv, build_norm_layer(norm_cfg, b)[1], nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1 = build_conv_layer(conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False)
            self.norm1_name = _add_norm(self, norm_cfg, channels, 1)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def init_weights(self) -> None:
        """Apply ``init_cfg``, then zero the last norm of each block where asked for."""
        super().init_weights()
        for module in self.modules() if self.zero_init_residual else ():
            if isinstance(module, (BasicBlock, Bottleneck)):
                nn.init.zeros_(module.last_norm.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "ResNet")
        x = self.stem(x) if self.deep_stem else self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        x = self.maxpool(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            for block in getattr(self, f"layer{i + 1}"):
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def adapt_state_dict(self, state_dict: Config, prefix: str) -> None:
        """Rename a part of another network that has Detectron2's names."""
        if f"{prefix}stem.conv1.norm.weight" not in state_dict:
            return
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key.removeprefix(prefix).removeprefix("stem.")
            name = re.sub(r"^res(\d)\.", lambda stage: f"layer{int(stage[1]) - 1}.", name)
            name = re.sub(r"shortcut\.(norm\.)?", lambda part: f"downsample.{int(bool(part[1]))}.", name)
            name = re.sub(r"conv(\d)\.norm\.", r"bn\1.", name)
            state_dict[prefix + name] = state_dict.pop(key)

    def train(self, mode: bool = True) -> ResNet:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        stem = [self.stem] if self.deep_stem else [self.conv1, getattr(self, self.norm1_name)]
        parts = [stem, *([getattr(self, f"layer{i + 1}")] for i in range(self.num_stages))]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


@MODELS.register_module()
class ResNetV1c(ResNet):
    """`ResNet` with a deep stem, as mmseg's configs use it; batch normalisation trains unless ``norm_eval`` is set."""

    DEEP_STEM = True
    NORM_EVAL = False


@MODELS.register_module()
class ResNetV1d(ResNet):
    """`ResNet` with a deep stem and average pooling in the shortcuts."""

    DEEP_STEM = True
    AVG_DOWN = True


def _check(depth: int, num_stages: int, strides: Sequence[int], dilations: Sequence[int], style: str) -> None:
    if depth not in ARCHS:
        raise ConfigError(f"ResNet has the depths {', '.join(map(str, ARCHS))}, got {depth!r}")
    if not 1 <= num_stages <= 4:
        raise ConfigError(f"ResNet has 1 to 4 stages, got num_stages={num_stages}")
    if len(strides) != num_stages or len(dilations) != num_stages:
        raise ConfigError(
            f"ResNet needs one stride and one dilation a stage ({num_stages}), got {strides} and {dilations}"
        )
    if style not in ("pytorch", "caffe"):
        raise ConfigError(f"ResNet's style is 'pytorch' or 'caffe', got {style!r}")


def _add_norm(module: nn.Module, norm_cfg: Config, channels: int, number: int) -> str:
    """Add a norm under mmcv's name for its kind, such as ``bn1`` or ``gn1``; return the name."""
    name, norm = build_norm_layer(norm_cfg, channels, postfix=number)
    module.add_module(name, norm)
    return name


def _shortcut(
    in_channels: int, out_channels: int, stride: int, avg_down: bool, conv_cfg: Config | None, norm_cfg: Config
) -> nn.Sequential:
    layers: list[nn.Module] = []
    if avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(build_conv_layer(conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False))
    return nn.Sequential(*layers, build_norm_layer(norm_cfg, out_channels)[1])


register_family(
    ResNet,
    {f"resnet{depth}": {"depth": depth} for depth in ARCHS},
    trunk={"out_indices": (3,), "norm_eval": False},
    head={"type": "LinearClsHead"},
    tail_keys=r"fc\.",
)
