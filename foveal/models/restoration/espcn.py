"""ESPCN as a whole network on luminance, the form in which weights were released (arXiv:1609.05158).

The paper's authors released nothing. Key names, luminance input and the sigmoid at the end are those of
https://github.com/leftthomas/ESPCN, whose files are bare state dicts.
"""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.layers import explain_scale
from foveal.models.restoration.image import check_image
from foveal.registry import MODELS


@MODELS.register_module()
class ESPCNNet(BaseModule):
    """Two convolutions with tanh, a sub-pixel convolution and a sigmoid.

    Args:
        scale: s, the factor of both sides.
        in_channels: C, of the input and of the output: 1 for luminance.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W] in [0, 1] to [N, C, H * s, W * s] in (0, 1).

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(
        self, scale: int, in_channels: int = 1, init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.scale = scale
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, in_channels * scale**2, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge the image ``x`` [N, C, H, W] to [N, C, H * s, W * s]."""
        check_image("ESPCN", x, self.in_channels)
        x = self.conv2(self.conv1(x).tanh()).tanh()
        return self.pixel_shuffle(self.conv3(x)).sigmoid()

    def explain_misfit(self, state_dict: dict[str, Tensor]) -> str | None:
        """Say why a checkpoint in the official key names does not fit, where that is another scale."""
        return explain_scale(state_dict.get("conv3.weight"), self.in_channels, self.scale)
