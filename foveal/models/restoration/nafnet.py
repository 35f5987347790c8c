"""NAFNet: a U-Net without activation functions (Chen et al., ECCV 2022, arXiv:2204.04676).

[N, C, H, W] in [0, 1] to the same. Official code and weights, whose key names these are:
https://github.com/megvii-research/NAFNet; its files keep the weights below ``params``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers import LayerNorm2d
from foveal.models.restoration.image import check_image
from foveal.registry import MODELS


def simple_gate(x: Tensor) -> Tensor:
    """Multiply one half of the channels of [N, 2C, H, W] by the other."""
    first, second = x.chunk(2, 1)
    return first * second


class LocalMean(nn.Module):
    """The mean over a window around each pixel, cut down and shifted inside at the borders; of small maps, of all.

    Args:
        window: Height and width of the window. None: always of all.
    """

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape, or to [N, C, 1, 1] where the window holds all."""
        height, width = x.shape[-2:]
        if self.window is None or self.window >= max(height, width):
            return x.mean((-2, -1), keepdim=True)
        rows, columns = min(self.window, height), min(self.window, width)
        # sums over areas from the corner, in float64: they grow with the image
        sums = F.pad(x.double().cumsum(-1).cumsum(-2), (1, 0, 1, 0))
        sums = sums[..., rows:, :] - sums[..., :-rows, :]
        mean = ((sums[..., columns:] - sums[..., :-columns]) / (rows * columns)).to(x.dtype)
        left, top = (columns - 1) // 2, (rows - 1) // 2
        return F.pad(mean, (left, columns - 1 - left, top, rows - 1 - top), "replicate")


class NAFBlock(nn.Module):
    """Depthwise convolution with gate and channel attention, then a gated MLP, each on a residual path that is scaled.

    Args:
        dim: C.
        window: As `LocalMean`.
    """

    def __init__(self, dim: int, window: int | None = None) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(dim)
        self.conv1 = nn.Conv2d(dim, 2 * dim, 1)
        self.conv2 = nn.Conv2d(2 * dim, 2 * dim, 3, padding=1, groups=2 * dim)
        self.sca = nn.Sequential(LocalMean(window), nn.Conv2d(dim, dim, 1))
        self.conv3 = nn.Conv2d(dim, dim, 1)
        self.norm2 = LayerNorm2d(dim)
        self.conv4 = nn.Conv2d(dim, 2 * dim, 1)
        self.conv5 = nn.Conv2d(dim, dim, 1)
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.conv3(y * self.sca(y)) * self.beta
        return x + self.conv5(simple_gate(self.conv4(self.norm2(x)))) * self.gamma


@MODELS.register_module()
class NAFNet(BaseModule):
    """NAFNet as a whole network; it makes what is added to its input.

    Args:
        in_channels: C of the image; the official code's ``img_channel``.
        width: Channels at the full resolution.
        middle_blk_num: Blocks at the lowest resolution.
        enc_blk_nums: Blocks of the encoder at each resolution, the full one first.
        dec_blk_nums: Blocks of the decoder at each resolution, the full one last.
        train_size: Side of the training patches: channel attention then takes its means over 1.5 times as much around
            each pixel (TLC, arXiv:2112.04491), as the official tests of deblurring do. None: over the image.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size (zeros are added up to a multiple of 2 to the number of resolutions), to the same.

    Raises:
        ConfigError: If encoder and decoder have different numbers of resolutions.
        DataError: From ``forward``, if the image has another number of channels.
    """

    scale = 1

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
        dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
        train_size: int | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(enc_blk_nums) != len(dec_blk_nums):
            raise ConfigError(
                f"NAFNet: enc_blk_nums has {len(enc_blk_nums)} resolutions, dec_blk_nums {len(dec_blk_nums)}"
            )
        self.in_channels = in_channels
        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, in_channels, 3, padding=1)
        dims = [width * 2**i for i in range(len(enc_blk_nums))]

        def blocks(level: int, count: int) -> nn.Sequential:
            window = None if train_size is None else train_size * 3 // 2 // 2**level
            return nn.Sequential(*(NAFBlock(width * 2**level, window) for _ in range(count)))

        levels = range(len(dims))
        self.encoders = nn.ModuleList(blocks(i, n) for i, n in zip(levels, enc_blk_nums, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(dim, 2 * dim, 2, 2) for dim in dims)
        self.middle_blks = blocks(len(dims), middle_blk_num)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * dim, 4 * dim, 1, bias=False), nn.PixelShuffle(2)) for dim in reversed(dims)
        )
        self.decoders = nn.ModuleList(blocks(i, n) for i, n in zip(reversed(levels), dec_blk_nums, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Restore the image ``x`` [N, C, H, W]; the result is not clamped."""
        check_image("NAFNet", x, self.in_channels)
        height, width = x.shape[-2:]
        multiple = 2 ** len(self.encoders)
        x = F.pad(x, (0, -width % multiple, 0, -height % multiple))
        y, skips = self.intro(x), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(y))
            y = down(skips[-1])
        y = self.middle_blks(y)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            y = decoder(up(y) + skips.pop())
        return (self.ending(y) + x)[..., :height, :width]
