"""SwinIR: image restoration by Swin Transformer (Liang et al., ICCVW 2021, arXiv:2108.10257).

[N, C, H, W] in [0, 1] to [N, C, H * s, W * s]. Official code and weights, whose key names these are:
https://github.com/JingyunLiang/SwinIR; its files keep the weights below ``params`` or ``params_ema``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foveal.backbones.swin import WindowMSA, shift_mask
from foveal.errors import ConfigError
from foveal.layers import DropPath, Mlp
from foveal.models.restoration.image import check_image, pad_to_multiple
from foveal.models.restoration.residual_groups import ResidualGroupNetwork, init_transformer
from foveal.registry import MODELS

# Buffers in released files: the mask is for the size of the training patches, both are made from sizes alone.
_BUFFERS = (".attn_mask", ".relative_position_index")


class SwinBlock(nn.Module):
    """Attention in windows and MLP, each behind a norm on a residual path.

    Args:
        dim: C.
        num_heads: Heads.
        window_size: Side of a window.
        shift: Shift the windows by half their side.
        mlp_ratio: Width of the MLP over C.
        qkv_bias: Biases in the projection to queries, keys and values.
        drop_path: Probability of dropping a branch.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        shift: bool,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.side, self.shift = window_size, window_size // 2 if shift else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowMSA(dim, num_heads, window_size, qkv_bias, None, 0.0, 0.0)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map [N, H, W, C], whole windows, to the same shape; ``mask`` is `shift_mask`'s."""
        y = self.norm1(x)
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        n, height, width, dim = y.shape
        y = y.view(n, height // self.side, self.side, width // self.side, self.side, dim).transpose(2, 3)
        y = self.attn(y.reshape(n, -1, self.side**2, dim), mask if self.shift else None)
        y = y.view(n, height // self.side, width // self.side, self.side, self.side, dim).transpose(2, 3)
        y = y.reshape(x.shape)
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + self.drop_path(y)
        return x + self.drop_path(self.mlp(self.norm2(x)))


@MODELS.register_module()
class SwinIR(ResidualGroupNetwork):
    """SwinIR as a whole network.

    Args:
        scale: s, the factor of both sides; 1 for denoising and JPEG artifacts. The official code's ``upscale``.
        in_channels: C of the image, 3 or 1.
        embed_dim: Channels inside.
        depths: Number of blocks of each group.
        num_heads: Heads of each group.
        window_size: Side of the windows.
        mlp_ratio: Width of the MLPs over ``embed_dim``.
        qkv_bias: Biases in the projections to queries, keys and values.
        drop_path_rate: Probability of dropping the last block's branches; it rises from 0 at the first.
        img_range: The network computes on [0, img_range]; the image stays in [0, 1].
        upsampler: ``pixelshuffle`` (classical), ``pixelshuffledirect`` (lightweight), ``nearest+conv`` (real-world), or
            empty: the network makes what is added to its input.
        resi_connection: ``1conv`` or ``3conv``, what ends each group.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size (it is mirrored up to whole windows), to [N, C, H * s, W * s].

    Raises:
        ConfigError: If the arguments do not fit each other.
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(
        self,
        scale: int = 2,
        in_channels: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        img_range: float = 1.0,
        upsampler: str = "",
        resi_connection: str = "1conv",
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if len(depths) != len(num_heads):
            raise ConfigError(f"SwinIR: depths has {len(depths)} groups, num_heads {len(num_heads)}")
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        groups = [
            [
                SwinBlock(embed_dim, heads, window_size, i % 2 == 1, mlp_ratio, qkv_bias, next(rates))
                for i in range(depth)
            ]
            for depth, heads in zip(depths, num_heads, strict=True)
        ]
        super().__init__(groups, scale, in_channels, embed_dim, img_range, upsampler, resi_connection, init_cfg)
        self.window_size = window_size
        self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        """Restore the image ``x`` [N, C, H, W] to [N, C, H * s, W * s]; the result is not clamped."""
        check_image("SwinIR", x, self.in_channels)
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.window_size)
        mask = shift_mask(x.permute(0, 2, 3, 1), self.window_size)
        return self.restore(x, mask)[..., : height * self.scale, : width * self.scale]

    def convert_state_dict(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return an official state dict with our buffers in place of its own, which fit one size of patches only."""
        kept = {key: value for key, value in state_dict.items() if not key.endswith(_BUFFERS)}
        return {**kept, **{key: value for key, value in self.state_dict().items() if key.endswith(_BUFFERS)}}
