"""CSPDarknet of YOLOX (Ge et al., 2021, arXiv:2107.08430) and CSPNeXt of RTMDet (Lyu et al., 2022, arXiv:2212.07784).

Features: [N, 3, H, W] to the maps of the stem and of each stage, [N, C, H/s, W/s] rounded up, s = 2, 4, 8, 16, 32 (P6:
and 64). Arguments and keys are those of mmdet, https://github.com/open-mmlab/mmdetection.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.contract import apply_train_mode, check_input, check_out_indices, drop_path_rates, run
from foveal.errors import ConfigError
from foveal.layers.csp import BN, CSPLayer, Focus, SPPBottleneck, conv_kind
from foveal.registry import MODELS, nearest

Config = dict[str, Any]
Stage = Sequence[Any]

SWISH = {"type": "Swish"}
SILU = {"type": "SiLU"}
KAIMING = {
    "type": "Kaiming",
    "layer": "Conv2d",
    "a": math.sqrt(5),
    "distribution": "uniform",
    "mode": "fan_in",
    "nonlinearity": "leaky_relu",
}
# channels in and out, blocks, residual paths in the blocks, spatial pyramid pooling
DARKNET: dict[str, list[Stage]] = {
    "P5": [
        (64, 128, 3, True, False),
        (128, 256, 9, True, False),
        (256, 512, 9, True, False),
        (512, 1024, 3, False, True),
    ],
    "P6": [
        (64, 128, 3, True, False),
        (128, 256, 9, True, False),
        (256, 512, 9, True, False),
        (512, 768, 3, True, False),
        (768, 1024, 3, False, True),
    ],
}
CSPNEXT: dict[str, list[Stage]] = {
    arch: [(*stage[:2], min(stage[2], 6), *stage[3:]) for stage in stages] for arch, stages in DARKNET.items()
}


@MODELS.register_module()
class CSPDarknet(BaseModule):
    """YOLOX's backbone with mmdet's arguments.

    Args:
        arch: ``P5`` (four stages) or ``P6`` (five).
        deepen_factor: Multiplies the blocks of every stage.
        widen_factor: Multiplies the channels.
        out_indices: Maps that are returned, rising; 0 is the stem's.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        use_depthwise: Separable convolutions for the 3x3 ones.
        arch_ovewrite: Stages in place of those of ``arch`` (mmdet's spelling): channels in and out, blocks, residual
            paths, pyramid pooling.
        spp_kernal_sizes: Windows of the pyramid pooling (mmdet's spelling).
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activations.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        init_cfg: mmengine's initialisation config.
        in_channels: Channels of the images.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        with_cp: Compute activations again in the backward pass to save memory.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    archs = DARKNET

    def __init__(
        self,
        arch: str = "P5",
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Sequence[Stage] | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: Config | None = None,
        norm_cfg: Config = BN,
        act_cfg: Config = SWISH,
        norm_eval: bool = False,
        init_cfg: Config | list[Config] | None = KAIMING,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
    ) -> None:
        self._setup(
            {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg},
            arch_ovewrite or self._stages_of(arch),
            (deepen_factor, widen_factor),
            out_indices,
            frozen_stages,
            norm_eval,
            init_cfg,
            in_channels,
            drop_path_rate,
            with_cp,
            spp_kernal_sizes,
            {"use_depthwise": use_depthwise},
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, type(self).__name__)
        maps = []
        for i, part in enumerate(self._parts()[: self.out_indices[-1] + 1]):
            for layer in part:
                x = run(layer, x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> CSPDarknet:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        apply_train_mode(self, self._parts(), self.frozen_stages, self.norm_eval, mode)
        return self

    def stage_of(self, name: str) -> tuple[int, int] | None:
        """Return the stage and block of a parameter, for layer-wise decay, and None for the stem's names."""
        match = re.match(r"stage(\d)\.(?:.*blocks\.(\d+)\.)?", name)
        return None if match is None else (int(match[1]) - 1, int(match[2] or 0))

    def _parts(self) -> list[Sequence[nn.Module]]:
        """The layers of the stem, then of each stage."""
        stem: Any = self.stem
        stages: list[Any] = [getattr(self, f"stage{i + 1}") for i in range(self.num_stages)]
        return [list(stem) if isinstance(stem, nn.Sequential) else [stem], *(list(stage) for stage in stages)]

    def _stages_of(self, arch: str) -> Sequence[Stage]:
        if arch not in self.archs:
            near = nearest(arch, self.archs) or list(self.archs)
            raise ConfigError(f"{type(self).__name__} has no arch {arch!r}; nearest names: {', '.join(near)}")
        return self.archs[arch]

    def _setup(
        self,
        layers: Config,
        stages: Sequence[Stage],
        factors: tuple[float, float],
        out_indices: Sequence[int],
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: Config | list[Config] | None,
        in_channels: int,
        drop_path_rate: float,
        with_cp: bool,
        spp_sizes: Sequence[int],
        csp: Config,
    ) -> None:
        """Make the stem and the stages; ``csp`` is what their `CSPLayer` take."""
        super().__init__(init_cfg)
        deepen, widen = factors
        self.in_channels = in_channels
        self.num_stages = len(stages)
        self.out_indices = check_out_indices(out_indices, len(stages) + 1, type(self).__name__)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        widths = [int(stages[0][0] * widen), *(int(stage[1] * widen) for stage in stages)]
        depths = [max(round(stage[2] * deepen), 1) for stage in stages]
        self.stem = self._make_stem(in_channels, widths[0], layers)
        rates = drop_path_rates(drop_path_rate, depths)
        for i, (stage_in, _, _, identity, pooled) in enumerate(stages):
            conv = conv_kind(csp["use_depthwise"])(
                int(stage_in * widen), widths[i + 1], 3, stride=2, padding=1, **layers
            )
            pyramid = [SPPBottleneck(widths[i + 1], spp_sizes, layers)] if pooled else []
            body = CSPLayer(
                widths[i + 1],
                widths[i + 1],
                num_blocks=depths[i],
                add_identity=identity,
                drop_path=rates[i],
                layers=layers,
                **csp,
            )
            self.add_module(f"stage{i + 1}", nn.Sequential(conv, *pyramid, body))
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(2 ** (i + 1) for i in self.out_indices)
        self.train()

    def _make_stem(self, in_channels: int, channels: int, layers: Config) -> nn.Module:
        return Focus(in_channels, channels, 3, layers)


@MODELS.register_module()
class CSPNeXt(CSPDarknet):
    """RTMDet's backbone with mmdet's arguments: blocks with a 5x5 depthwise convolution and channel attention.

    Args:
        arch: As for `CSPDarknet`.
        deepen_factor: As there.
        widen_factor: As there.
        out_indices: As there.
        frozen_stages: As there.
        use_depthwise: As there.
        expand_ratio: Width of a stage's halves, as a share of its channels.
        arch_ovewrite: As for `CSPDarknet`.
        spp_kernel_sizes: Windows of the pyramid pooling.
        channel_attention: Scale the channels at the end of every stage.
        conv_cfg: As for `CSPDarknet`.
        norm_cfg: As there.
        act_cfg: As there.
        norm_eval: As there.
        init_cfg: As there.
        in_channels: As there.
        drop_path_rate: As there.
        with_cp: As there.
    """

    archs = CSPNEXT

    def __init__(
        self,
        arch: str = "P5",
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        arch_ovewrite: Sequence[Stage] | None = None,
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        conv_cfg: Config | None = None,
        norm_cfg: Config = BN,
        act_cfg: Config = SILU,
        norm_eval: bool = False,
        init_cfg: Config | list[Config] | None = KAIMING,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
    ) -> None:
        self._setup(
            {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg},
            arch_ovewrite or self._stages_of(arch),
            (deepen_factor, widen_factor),
            out_indices,
            frozen_stages,
            norm_eval,
            init_cfg,
            in_channels,
            drop_path_rate,
            with_cp,
            spp_kernel_sizes,
            {
                "use_depthwise": use_depthwise,
                "expand_ratio": expand_ratio,
                "use_cspnext_block": True,
                "channel_attention": channel_attention,
            },
        )

    def _make_stem(self, in_channels: int, channels: int, layers: Config) -> nn.Module:
        half = channels // 2
        return nn.Sequential(
            ConvModule(in_channels, half, 3, stride=2, padding=1, **layers),
            ConvModule(half, half, 3, padding=1, **layers),
            ConvModule(half, channels, 3, padding=1, **layers),
        )
