"""ESPCN: efficient sub-pixel convolutional network (Shi et al., CVPR 2016, arXiv:1609.05158).

The features that the paper computes at the low resolution: 5x5 to 64 channels, 3x3 to 32, each with tanh. The third
layer, sub-pixel convolution, is ``PixelShuffleHead``. There is no official code; the key names are ours.
"""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import DataError
from foveal.registry import MODELS


@MODELS.register_module()
class ESPCN(BaseModule):
    """The first two layers of ESPCN.

    Args:
        in_channels: C: 3 for RGB, 1 for luminance as in the paper.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size, to a tuple of one map [N, 32, H, W].

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(self, in_channels: int = 3, init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.out_channels = (32,)
        self.out_strides = (1,)
        self.conv1 = nn.Conv2d(in_channels, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 32, 3, padding=1)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features of the image ``x`` [N, C, H, W]."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise DataError(f"ESPCN takes images [N, {self.in_channels}, H, W], got shape {list(x.shape)}")
        return (self.act(self.conv2(self.act(self.conv1(x)))),)
