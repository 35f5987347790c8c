"""Aggregated attention as a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.aggregated_attention.functional import aggregated_attention
from foveal.ops.aggregated_attention.positions import WINDOW, Axis, Positions


class CosineAttention(nn.Module):
    """What both forms of attention share: cosine similarity, its scale, and the bias of positions.

    Args:
        dim: C.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim must be a multiple of num_heads, got {dim} and {num_heads}")
        self.num_heads = num_heads
        # softplus of it is 1 / 0.24
        self.temperature = nn.Parameter(torch.full((num_heads, 1, 1), 1 / 0.24).expm1().log())
        self.query_embedding = nn.Parameter(torch.empty(num_heads, 1, dim // num_heads))
        nn.init.trunc_normal_(self.query_embedding, std=0.02)
        self.proj = nn.Linear(dim, dim)
        self.cpb_fc1 = nn.Linear(2, 512)
        self.cpb_fc2 = nn.Linear(512, num_heads)

    def split(self, x: Tensor) -> Tensor:
        """Map [..., n * C] to [..., n * heads, C / heads]."""
        return x.unflatten(-1, (-1, self.query_embedding.shape[2]))

    def query(self, q: Tensor, positions: Positions) -> Tensor:
        """Embed and scale queries of unit length, [N, H, W, heads, C / heads]."""
        scale = F.softplus(self.temperature[:, 0]) * positions.log_length
        return (q + self.query_embedding[:, 0]) * scale

    def position_bias(self, positions: Positions) -> Tensor:
        """Return the bias of H * W queries to P pooled keys, [heads, H * W, P]."""
        rows, columns = positions.rows, positions.columns
        coords = torch.stack(torch.meshgrid(columns.coords, rows.coords, indexing="ij"), -1).flip(-1)
        table = self.cpb_fc2(F.relu(self.cpb_fc1(coords.to(self.cpb_fc1.weight.dtype)), inplace=True))
        bias = _spread(table.permute(2, 0, 1), rows)  # (heads, columns' U, H, keys)
        bias = _spread(bias.permute(0, 2, 3, 1).flatten(1, 2), columns)  # (heads, H * keys, W, keys)
        bias = bias.unflatten(1, (rows.queries, rows.keys)).permute(0, 2, 4, 1, 3)
        # the memory's order is that in which the operator reads it
        return bias.reshape(self.num_heads, rows.keys * columns.keys, -1).transpose(1, 2)


def _spread(table: Tensor, axis: Axis) -> Tensor:
    """Map biases of distances, [heads, n, U], to those of queries and keys, [heads, n, queries, keys]."""
    bias = table.index_select(2, axis.lookup.flatten()).unflatten(2, axis.lookup.shape)
    size = (axis.queries, axis.keys)
    # a bilinear map in two axes of the image is one map after the other
    return bias if bias.shape[2:] == size else F.interpolate(bias, size, mode="bilinear")


class AggregatedAttention(CosineAttention):
    """Attention to the window around each pixel and to pooled pixels at once, with the keys of TransNeXt's layer.

    arXiv:2311.17132, section 3; https://github.com/DaiShiResearch/TransNeXt.

    Args:
        dim: C.
        num_heads: Heads; C is a multiple.

    Raises:
        ValueError: If ``dim`` is not a multiple of ``num_heads``.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.sr = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim)
        self.relative_pos_bias_local = nn.Parameter(torch.empty(num_heads, WINDOW**2))
        self.learnable_tokens = nn.Parameter(torch.empty(num_heads, dim // num_heads, WINDOW**2))
        self.learnable_bias = nn.Parameter(torch.zeros(num_heads, 1, WINDOW**2))
        nn.init.trunc_normal_(self.relative_pos_bias_local, std=0.0004)
        nn.init.trunc_normal_(self.learnable_tokens, std=0.02)
        nn.init.normal_(self.sr.weight, std=(2 / dim) ** 0.5)
        if self.sr.bias is not None:
            nn.init.zeros_(self.sr.bias)

    def forward(self, x: Tensor, positions: Positions) -> Tensor:
        """Map [N, H, W, C] to the same shape.

        Args:
            x: A map of any size.
            positions: What `make_positions` says of it.
        """
        q = F.normalize(self.split(self.q(x)), dim=-1)
        k, v = self.split(self.kv(x)).chunk(2, 3)
        pooled = F.gelu(self.sr(x.permute(0, 3, 1, 2)))
        pooled = F.adaptive_avg_pool2d(pooled, (positions.rows.keys, positions.columns.keys))
        k_pool, v_pool = self.split(self.kv(self.norm(pooled.flatten(2).transpose(1, 2)))).chunk(2, 2)
        weights = torch.einsum("nhwgd,gdk->nhwgk", q, self.learnable_tokens) + self.learnable_bias[:, 0]
        out = aggregated_attention(
            self.query(q, positions).to(v.dtype),
            F.normalize(k, dim=-1).to(v.dtype),
            v,
            F.normalize(k_pool, dim=-1).to(v.dtype),
            v_pool,
            WINDOW,
            self.relative_pos_bias_local.to(v.dtype),
            self.position_bias(positions).to(v.dtype),
            weights.to(v.dtype),
            scale=1.0,
        )
        return self.proj(out.flatten(3))
