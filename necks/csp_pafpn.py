"""The pyramids of YOLOX (arXiv:2107.08430) and RTMDet (arXiv:2212.07784): top-down and bottom-up with CSP layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.csp import BN, CSPLayer, conv_kind
from foveal.registry import MODELS

Options = dict[str, Any]

SWISH = {"type": "Swish"}
NEAREST = {"scale_factor": 2, "mode": "nearest"}
KAIMING = {
    "type": "Kaiming",
    "layer": "Conv2d",
    "a": math.sqrt(5),
    "distribution": "uniform",
    "mode": "fan_in",
    "nonlinearity": "leaky_relu",
}


@MODELS.register_module()
class YOLOXPAFPN(BaseModule):
    """YOLOX's pyramid with mmdet's arguments and keys.

    The keys are ``reduce_layers.i``, ``top_down_blocks.i``, ``downsamples.i``, ``bottom_up_blocks.i`` and
    ``out_convs.i``.

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of every map that goes out.
        num_csp_blocks: Blocks of every CSP layer.
        use_depthwise: Separable convolutions for the 3x3 ones.
        upsample_cfg: ``mode`` of the enlargement. Maps take the finer one's size, so ``scale_factor`` is not read.
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: Norm layers.
        act_cfg: Activations.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to a tuple of [N, out_channels, H_i, W_i].
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        upsample_cfg: Options = NEAREST,
        conv_cfg: Options | None = None,
        norm_cfg: Options = BN,
        act_cfg: Options = SWISH,
        init_cfg: Options | list[Options] | None = KAIMING,
    ) -> None:
        super().__init__(init_cfg)
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self._make(in_channels, out_channels, upsample_cfg, layers, num_csp_blocks, {"use_depthwise": use_depthwise})
        self.out_convs = nn.ModuleList(ConvModule(c, out_channels, 1, **layers) for c in in_channels)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            inputs: One map [N, in_channels[i], H_i, W_i] for each of ``in_channels``.

        Returns:
            As many maps, finest first.

        Raises:
            ConfigError: If the number of maps is another.
        """
        if len(inputs) != len(self.in_channels):
            name = type(self).__name__
            raise ConfigError(f"{name} was built for {len(self.in_channels)} feature maps, got {len(inputs)}")
        inner = [inputs[-1]]
        for finer, reduce, block in zip(inputs[-2::-1], self.reduce_layers, self.top_down_blocks, strict=True):
            inner[0] = reduce(inner[0])
            enlarged = F.interpolate(inner[0], size=finer.shape[2:], mode=self.mode)
            inner.insert(0, block(torch.cat((enlarged, finer), dim=1)))
        outs = [inner[0]]
        for coarser, shrink, block in zip(inner[1:], self.downsamples, self.bottom_up_blocks, strict=True):
            outs.append(block(torch.cat((shrink(outs[-1]), coarser), dim=1)))
        return tuple(conv(x) for conv, x in zip(self.out_convs, outs, strict=True))

    def _make(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        upsample_cfg: Options,
        layers: Options,
        num_blocks: int,
        csp: Options,
    ) -> None:
        """Make all but ``out_convs``; ``csp`` is what the CSP layers take."""
        self.in_channels = list(in_channels)
        self.out_channels = (out_channels,) * len(self.in_channels)
        self.mode = upsample_cfg["mode"]
        self.reduce_layers, self.top_down_blocks = nn.ModuleList(), nn.ModuleList()
        self.downsamples, self.bottom_up_blocks = nn.ModuleList(), nn.ModuleList()
        shared = {"num_blocks": num_blocks, "add_identity": False, "layers": layers, **csp}
        pairs = list(zip(self.in_channels, self.in_channels[1:], strict=False))
        for fine, coarse in reversed(pairs):
            self.reduce_layers.append(ConvModule(coarse, fine, 1, **layers))
            self.top_down_blocks.append(CSPLayer(2 * fine, fine, **shared))
        for fine, coarse in pairs:
            self.downsamples.append(conv_kind(csp["use_depthwise"])(fine, fine, 3, stride=2, padding=1, **layers))
            self.bottom_up_blocks.append(CSPLayer(2 * fine, coarse, **shared))


@MODELS.register_module()
class CSPNeXtPAFPN(YOLOXPAFPN):
    """RTMDet's pyramid with mmdet's arguments and keys: `YOLOXPAFPN` with CSPNeXt's blocks and 3x3 output convolutions.

    Args:
        in_channels: As there.
        out_channels: As there.
        num_csp_blocks: As there.
        use_depthwise: As there.
        expand_ratio: Width of the CSP layers' halves, as a share of their channels.
        upsample_cfg: As for `YOLOXPAFPN`.
        conv_cfg: As there.
        norm_cfg: As there.
        act_cfg: As there.
        init_cfg: As there.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        upsample_cfg: Options = NEAREST,
        conv_cfg: Options | None = None,
        norm_cfg: Options = BN,
        act_cfg: Options = SWISH,
        init_cfg: Options | list[Options] | None = KAIMING,
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        csp = {"use_depthwise": use_depthwise, "expand_ratio": expand_ratio, "use_cspnext_block": True}
        self._make(in_channels, out_channels, upsample_cfg, layers, num_csp_blocks, csp)
        conv = conv_kind(use_depthwise)
        self.out_convs = nn.ModuleList(conv(c, out_channels, 3, padding=1, **layers) for c in in_channels)
