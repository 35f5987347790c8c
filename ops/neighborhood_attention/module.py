"""Neighbourhood attention as a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.neighborhood_attention.functional import neighborhood_attention


class NeighborhoodAttention2D(nn.Module):
    """Multi-head neighbourhood attention of a map to itself, with the keys of NATTEN's layer of that name.

    Args:
        dim: C.
        num_heads: Heads; C is a multiple.
        kernel_size: Odd.
        dilation: At least 1.
        qkv_bias: Biases in the projection to queries, keys and values.
        rel_pos_bias: Learn a bias for every relative position, ``rpb``.

    Raises:
        ValueError: If ``dim`` is not a multiple of ``num_heads``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        kernel_size: int,
        dilation: int = 1,
        qkv_bias: bool = True,
        rel_pos_bias: bool = True,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim must be a multiple of num_heads, got {dim} and {num_heads}")
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.rpb = None
        if rel_pos_bias:
            self.rpb = nn.Parameter(torch.empty(num_heads, 2 * kernel_size - 1, 2 * kernel_size - 1))
            nn.init.trunc_normal_(self.rpb, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape.

        A map smaller than kernel_size * dilation is padded with zeros at the bottom and the right, as NATTEN 0.14 did:
        the pixels of the padding are attended to, with the biases of the projection as keys and values.
        """
        _, height, width, _ = x.shape
        least = self.kernel_size * self.dilation
        if min(height, width) < least:
            x = F.pad(x, (0, 0, 0, max(0, least - width), 0, max(0, least - height)))
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        rpb = None if self.rpb is None else self.rpb.to(q.dtype)
        x = neighborhood_attention(q, k, v, self.kernel_size, self.dilation, rpb)
        return self.proj(x[:, :height, :width].flatten(-2))

    def extra_repr(self) -> str:
        """Show the window when the module is printed."""
        return f"num_heads={self.num_heads}, kernel_size={self.kernel_size}, dilation={self.dilation}"
