"""The frame that SwinIR introduced and MambaIR took over: convolution, groups of blocks, upsampling by task.

Key names: https://github.com/JingyunLiang/SwinIR.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers import explain_scale, explain_stages, sub_pixel_stages
from foveal.models.restoration.image import RGB_MEAN, check_image

UPSAMPLERS = ("", "pixelshuffle", "pixelshuffledirect", "nearest+conv")
# channels of the map at the high resolution
NUM_FEAT = 64


def group_conv(dim: int, resi_connection: str) -> nn.Module:
    """Return what ends a group: one convolution, or three through a quarter of the channels.

    Args:
        dim: C.
        resi_connection: ``1conv`` or ``3conv``.

    Raises:
        ConfigError: If it is another word.
    """
    if resi_connection == "1conv":
        return nn.Conv2d(dim, dim, 3, padding=1)
    if resi_connection != "3conv":
        raise ConfigError(f"resi_connection is '1conv' or '3conv', got {resi_connection!r}")
    return nn.Sequential(
        nn.Conv2d(dim, dim // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim // 4, dim // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim // 4, dim, 3, padding=1),
    )


class BasicLayer(nn.Module):
    """Blocks one after the other on [N, H, W, C]; what they are given besides is the same for all."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        for block in self.blocks:
            x = block(x, *context)
        return x


class ResidualGroup(nn.Module):
    """A `BasicLayer` and a convolution, whose output is added to the input."""

    def __init__(self, blocks: Iterable[nn.Module], dim: int, resi_connection: str) -> None:
        super().__init__()
        self.residual_group = BasicLayer(blocks)
        self.conv = group_conv(dim, resi_connection)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        y = self.residual_group(x, *context).permute(0, 3, 1, 2)
        return self.conv(y).permute(0, 2, 3, 1) + x


class ResidualGroupNetwork(BaseModule):
    """The frame, to which a network adds its groups of blocks.

    Args:
        groups: Blocks of each group.
        scale: s, the factor of both sides; 1 for denoising and the like.
        in_channels: C of the image; the mean of DIV2K is taken off where it is 3.
        embed_dim: Channels inside.
        img_range: The network computes on [0, img_range]; the image stays in [0, 1].
        upsampler: ``pixelshuffle`` (classical), ``pixelshuffledirect`` (lightweight), ``nearest+conv`` (real-world), or
            empty: the network makes what is added to its input.
        resi_connection: As `group_conv`.
        init_cfg: mmengine's initialisation.

    Raises:
        ConfigError: If the upsampler is unknown or cannot enlarge by ``scale``.
    """

    def __init__(
        self,
        groups: Iterable[Iterable[nn.Module]],
        scale: int,
        in_channels: int,
        embed_dim: int,
        img_range: float,
        upsampler: str,
        resi_connection: str,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None,
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if upsampler not in UPSAMPLERS:
            raise ConfigError(f"{name}: upsampler is one of {', '.join(map(repr, UPSAMPLERS))}, got {upsampler!r}")
        if (upsampler == "" and scale != 1) or (upsampler == "nearest+conv" and scale not in (2, 4)):
            only = "1" if upsampler == "" else "2 or 4"
            raise ConfigError(f"{name}: upsampler {upsampler!r} needs scale={only}, got {scale}")
        self.scale, self.in_channels, self.img_range, self.upsampler = scale, in_channels, img_range, upsampler
        mean = RGB_MEAN if in_channels == 3 else (0.0,)
        # float32 also in a float64 network, as the official code has it
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(in_channels, embed_dim, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)})
        self.layers = nn.ModuleList(ResidualGroup(blocks, embed_dim, resi_connection) for blocks in groups)
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = group_conv(embed_dim, resi_connection)
        if upsampler == "pixelshuffledirect":
            last = nn.Conv2d(embed_dim, scale**2 * in_channels, 3, padding=1)
            self.upsample = nn.Sequential(last, nn.PixelShuffle(scale))
            return
        if upsampler:
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(embed_dim, NUM_FEAT, 3, padding=1), nn.LeakyReLU())
        if upsampler == "pixelshuffle":
            self.upsample = sub_pixel_stages(scale, NUM_FEAT)
        if upsampler == "nearest+conv":
            self.conv_up1 = nn.Conv2d(NUM_FEAT, NUM_FEAT, 3, padding=1)
            if scale == 4:
                self.conv_up2 = nn.Conv2d(NUM_FEAT, NUM_FEAT, 3, padding=1)
            self.conv_hr = nn.Conv2d(NUM_FEAT, NUM_FEAT, 3, padding=1)
        self.conv_last = nn.Conv2d(NUM_FEAT if upsampler else embed_dim, in_channels, 3, padding=1)

    def restore(self, x: Tensor, *context: Any) -> Tensor:
        """Enlarge an image of a size that the blocks can take, [N, C, H, W] to [N, C, H * s, W * s].

        Args:
            x: The image.
            *context: What each block is given besides its map.
        """
        check_image(type(self).__name__, x, self.in_channels)
        mean = self.mean.to(x)
        x = (x - mean) * self.img_range
        first = self.conv_first(x)
        y = self.patch_embed["norm"](first.permute(0, 2, 3, 1))
        for layer in self.layers:
            y = layer(y, *context)
        y = self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + first
        y = self._enlarge(y) if self.upsampler else x + self.conv_last(y)
        return y / self.img_range + mean

    def _enlarge(self, y: Tensor) -> Tensor:
        """From the features to the image."""
        if self.upsampler == "pixelshuffledirect":
            return self.upsample(y)
        y = self.conv_before_upsample(y)
        if self.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(y))
        for conv in [self.conv_up1] + ([self.conv_up2] if self.scale == 4 else []):
            y = F.leaky_relu(conv(F.interpolate(y, scale_factor=2.0)), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(y), 0.2))

    def explain_misfit(self, state_dict: dict[str, Tensor]) -> str | None:
        """Say why a checkpoint in the official key names does not fit, where that is another scale."""
        if self.upsampler == "pixelshuffledirect":
            return explain_scale(state_dict.get("upsample.0.weight"), self.in_channels, self.scale)
        return explain_stages(state_dict, "upsample.", NUM_FEAT, self.scale)


def init_transformer(module: nn.Module) -> None:
    """Initialise linear layers as vision transformers do, for ``nn.Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
