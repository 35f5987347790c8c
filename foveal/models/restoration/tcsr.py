"""TCSR: super-resolution by neighbourhood attention and shifted features (Wu et al., 2023, arXiv:2303.14324).

[N, 3, H, W] in [0, 1] to [N, 3, H * s, W * s]. The authors' repository, https://github.com/Aitical/TCSR, holds neither
code nor weights, so the key names are SwinIR's where the parts are, and depths and widths are ours, near the paper's
parameters (x4: 672 K and 1,034 K where the paper has 682 K and 1,030 K).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.models.restoration.residual_groups import ResidualGroupNetwork, init_transformer
from foveal.ops.neighborhood_attention import NeighborhoodAttention2D
from foveal.registry import MODELS


def spatial_shift(x: Tensor) -> Tensor:
    """Shift four fifths of the channels by one pixel, a fifth to each side; pixels at the border stay what they are.

    Args:
        x: [N, H, W, C].
    """
    fifth = x.shape[-1] // 5
    down, up, right, left, rest = x.split([fifth] * 4 + [x.shape[-1] - 4 * fifth], -1)
    return torch.cat(
        [
            torch.cat([down[:, :1], down[:, :-1]], 1),
            torch.cat([up[:, 1:], up[:, -1:]], 1),
            torch.cat([right[:, :, :1], right[:, :, :-1]], 2),
            torch.cat([left[:, :, 1:], left[:, :, -1:]], 2),
            rest,
        ],
        -1,
    )


class EFFN(nn.Module):
    """The enhanced feed-forward network: two linear layers with `spatial_shift` and GELU between.

    Args:
        dim: C.
        hidden: Width between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        return self.fc2(F.gelu(spatial_shift(self.fc1(x))))


class TCSRBlock(nn.Module):
    """Neighbourhood attention and `EFFN`, each behind a norm on a residual path."""

    def __init__(self, dim: int, num_heads: int, kernel_size: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = NeighborhoodAttention2D(dim, num_heads, kernel_size, 1)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = EFFN(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@MODELS.register_module()
class TCSR(ResidualGroupNetwork):
    """TCSR as a whole network.

    Args:
        scale: s, the factor of both sides.
        in_channels: C of the image.
        embed_dim: Channels inside.
        depths: Number of blocks of each group.
        num_heads: Heads of every block.
        kernel_size: Of the attention's window, odd.
        mlp_ratio: Width of the feed-forward networks over ``embed_dim``.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size, to [N, C, H * s, W * s].

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(
        self,
        scale: int,
        in_channels: int = 3,
        embed_dim: int = 60,
        depths: Sequence[int] = (4, 4, 4, 4),
        num_heads: int = 4,
        kernel_size: int = 7,
        mlp_ratio: float = 2.0,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        groups = [[TCSRBlock(embed_dim, num_heads, kernel_size, mlp_ratio) for _ in range(depth)] for depth in depths]
        super().__init__(groups, scale, in_channels, embed_dim, 1.0, "pixelshuffledirect", "1conv", init_cfg)
        self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge the image ``x`` [N, C, H, W] to [N, C, H * s, W * s]; the result is not clamped."""
        return self.restore(x)
