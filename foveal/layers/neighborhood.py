"""What the transformers with neighbourhood attention (NAT, DiNAT, DiNAT_s) share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.layers.drop import DropPath
from foveal.layers.mlp import Mlp
from foveal.ops.neighborhood_attention import NeighborhoodAttention2D


class NeighborhoodBlock(nn.Module):
    """A pre-norm transformer block with neighbourhood attention, channels last.

    Args:
        dim: C.
        num_heads: Heads; C is a multiple.
        kernel_size: Of the attention's window, odd.
        dilation: Of the window.
        mlp_ratio: Width of the perceptron over C.
        drop_path: Probability of dropping each of the two branches.
        layer_scale: Initial value of the branches' scales ``gamma1`` and ``gamma2``; None: no scales.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        kernel_size: int,
        dilation: int,
        mlp_ratio: float,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = NeighborhoodAttention2D(dim, num_heads, kernel_size, dilation)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)
        self.gamma1 = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))
        self.gamma2 = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        y = self.attn(self.norm1(x))
        x = x + self.drop_path(y if self.gamma1 is None else self.gamma1 * y)
        y = self.mlp(self.norm2(x))
        return x + self.drop_path(y if self.gamma2 is None else self.gamma2 * y)


class NeighborhoodLevel(nn.Module):
    """The blocks of one resolution, and what leads from it to the next.

    Args:
        dim: C.
        num_heads: Heads of every block.
        kernel_size: Of every block.
        dilations: Of each block.
        mlp_ratio: Of every block.
        drop_paths: Of each block.
        layer_scale: Of every block.
        downsample: Maps [N, H, W, C] to the next level's map; None at the last level.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        kernel_size: int,
        dilations: Sequence[int],
        mlp_ratio: float,
        drop_paths: Sequence[float],
        layer_scale: float | None = None,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            NeighborhoodBlock(dim, num_heads, kernel_size, dilation, mlp_ratio, drop_path, layer_scale)
            for dilation, drop_path in zip(dilations, drop_paths, strict=True)
        )
        self.downsample = downsample
