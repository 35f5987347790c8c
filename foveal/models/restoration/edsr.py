"""EDSR: residual blocks without batch normalisation (Lim et al., CVPRW 2017, arXiv:1707.02921).

[N, 3, H, W] in [0, 1] to [N, 3, H * s, W * s]. Official code and weights, whose key names these are:
https://github.com/sanghyun-son/EDSR-PyTorch; its files are bare state dicts.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.layers import explain_stages, sub_pixel_stages
from foveal.models.restoration.image import RGB_MEAN, check_image
from foveal.registry import MODELS


class MeanShift(nn.Conv2d):
    """Add the mean colour of DIV2K, or take it off; a convolution in the released files, which does not learn."""

    def __init__(self, rgb_range: float, sign: int) -> None:
        super().__init__(3, 3, 1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            assert self.bias is not None
            self.bias.copy_(sign * rgb_range * torch.tensor(RGB_MEAN))
        self.requires_grad_(False)


class ResBlock(nn.Module):
    """Two convolutions with ReLU between, scaled and added to their input."""

    def __init__(self, n_feats: int, res_scale: float) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            nn.Conv2d(n_feats, n_feats, 3, padding=1), nn.ReLU(), nn.Conv2d(n_feats, n_feats, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x + self.res_scale * self.body(x)


@MODELS.register_module()
class EDSR(BaseModule):
    """EDSR as a whole network.

    Args:
        scale: s, the factor of both sides: 2, 3, 4, 8 …
        n_resblocks: Residual blocks; 16 in the baseline, 32 in the large network.
        n_feats: C inside; 64 or 256.
        res_scale: Factor of each block's residual; 1 or 0.1.
        rgb_range: The network computes on [0, rgb_range], in which the released biases are; the image stays in [0, 1].
        init_cfg: mmengine's initialisation.

    Shape:
        [N, 3, H, W], any size, to [N, 3, H * s, W * s].

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(
        self,
        scale: int,
        n_resblocks: int = 16,
        n_feats: int = 64,
        res_scale: float = 1.0,
        rgb_range: float = 255.0,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.scale, self.n_feats, self.rgb_range = scale, n_feats, rgb_range
        self.sub_mean = MeanShift(rgb_range, -1)
        self.add_mean = MeanShift(rgb_range, 1)
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 3, padding=1))
        blocks = [ResBlock(n_feats, res_scale) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(n_feats, n_feats, 3, padding=1))
        self.tail = nn.Sequential(sub_pixel_stages(scale, n_feats), nn.Conv2d(n_feats, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge the image ``x`` [N, 3, H, W] to [N, 3, H * s, W * s]; the result is not clamped."""
        check_image("EDSR", x, 3)
        x = self.head(self.sub_mean(x * self.rgb_range))
        x = self.tail(self.body(x) + x)
        return self.add_mean(x) / self.rgb_range

    def explain_misfit(self, state_dict: dict[str, Tensor]) -> str | None:
        """Say why a checkpoint in the official key names does not fit, where that is another scale."""
        return explain_stages(state_dict, "tail.0.", self.n_feats, self.scale)
