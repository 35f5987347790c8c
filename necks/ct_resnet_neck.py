"""CenterNet's upsampling (Zhou et al., 2019, arXiv:1904.07850), with deformable convolutions as in CoDeNet.

CoDeNet: Dong et al., FPGA 2021, arXiv:2006.08357.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.deform_conv import ModulatedDeformConv2dPack
from foveal.registry import MODELS

BN = {"type": "BN"}


@MODELS.register_module()
class CTResNetNeck(BaseModule):
    """Convolutions and transposed convolutions that enlarge the last map; mmdet's arguments, keys ``deconv_layers.i``.

    Args:
        in_channels: Channels of the last map that comes in, or of all of them.
        num_deconv_filters: Channels of each enlargement, which doubles the sides.
        num_deconv_kernels: Kernels of the transposed convolutions, 4 for exactly twice the sides.
        use_dcn: The convolution before each enlargement is deformable.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: Channels of the one map that goes out.

    Shape:
        tuple of [N, C_i, H_i, W_i] to one [N, num_deconv_filters[-1], 8 * H, 8 * W] for three enlargements.

    Raises:
        ConfigError: If the two lists differ in length.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_deconv_filters: Sequence[int],
        num_deconv_kernels: Sequence[int],
        use_dcn: bool = True,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(num_deconv_filters) != len(num_deconv_kernels):
            raise ConfigError(
                f"CTResNetNeck has {len(num_deconv_filters)} num_deconv_filters but {len(num_deconv_kernels)} "
                "num_deconv_kernels"
            )
        self.use_dcn = use_dcn
        self.out_channels = (num_deconv_filters[-1],)
        channels = in_channels if isinstance(in_channels, int) else in_channels[-1]
        conv = {"type": ModulatedDeformConv2dPack} if use_dcn else None
        layers: list[nn.Module] = []
        for width, kernel in zip(num_deconv_filters, num_deconv_kernels, strict=True):
            layers.append(ConvModule(channels, width, 3, padding=1, conv_cfg=conv, norm_cfg=BN))
            layers.append(
                ConvModule(width, width, kernel, stride=2, padding=1, conv_cfg={"type": "deconv"}, norm_cfg=BN)
            )
            channels = width
        self.deconv_layers = nn.Sequential(*layers)

    def init_weights(self) -> None:
        """Initialise as mmdet does: the first input channel of a transposed convolution interpolates bilinearly."""
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                module.reset_parameters()
                with torch.no_grad():
                    module.weight[:, 0] = bilinear_kernel(module.weight.shape[2]).to(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d) and not self.use_dcn:
                module.reset_parameters()

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the enlarged map.

        Args:
            inputs: Feature maps; the last one is used.

        Returns:
            One map.
        """
        return (self.deconv_layers(inputs[-1]),)


def bilinear_kernel(size: int) -> Tensor:
    """Return the kernel [size, size] with which a transposed convolution of stride 2 interpolates bilinearly."""
    half = math.ceil(size / 2)
    center = (2 * half - 1 - half % 2) / (2 * half)
    line = 1 - (torch.arange(size, dtype=torch.float64) / half - center).abs()
    return line[:, None] * line
