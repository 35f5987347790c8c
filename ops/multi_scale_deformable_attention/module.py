"""Multi-scale deformable attention as a layer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.multi_scale_deformable_attention.functional import multi_scale_deformable_attention


class MultiScaleDeformableAttention(nn.Module):
    """Attention of queries to points of several feature maps, with the keys and arguments of mmcv's layer of that name.

    Deformable DETR, arXiv:2010.04159; mmcv.ops.MultiScaleDeformableAttention.

    Args:
        embed_dims: Channels of the queries and the values.
        num_heads: Heads; ``embed_dims`` and the projected values' channels are multiples.
        num_levels: Feature maps.
        num_points: Points that a head reads of a map.
        im2col_step: Taken so that configs of mmcv fit; the kernels here work without steps.
        dropout: Probability of dropping a number of the result before ``identity`` is added, 0 to 1.
        batch_first: Queries are [N, Q, C]; otherwise [Q, N, C], and the values likewise.
        norm_cfg: None; the layer has no normalisation, but configs of mmcv name it.
        init_cfg: None, likewise: the layer starts as the paper says.
        value_proj_ratio: Channels of the projected values as a multiple of ``embed_dims``.

    Raises:
        ValueError: If channels are not a multiple of ``num_heads``, or a config that must be None is not.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: None = None,
        init_cfg: None = None,
        value_proj_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if norm_cfg is not None or init_cfg is not None:
            raise ValueError(f"norm_cfg and init_cfg must be None, got {norm_cfg} and {init_cfg}")
        values = int(embed_dims * value_proj_ratio)
        if embed_dims % num_heads or values % num_heads:
            raise ValueError(
                f"embed_dims and embed_dims * value_proj_ratio must be multiples of num_heads {num_heads}, "
                f"got {embed_dims} and {values}"
            )
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        self.im2col_step = im2col_step
        self.batch_first = batch_first
        self.dropout = nn.Dropout(dropout)
        points = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, 2 * points)
        self.attention_weights = nn.Linear(embed_dims, points)
        self.value_proj = nn.Linear(embed_dims, values)
        self.output_proj = nn.Linear(values, embed_dims)
        self.init_weights()

    def init_weights(self) -> None:
        """Let each head look into a direction of its own, its points 1, 2, 3 … pixels away, all weights equal."""
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)
        angle = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1, dtype=torch.float32).view(-1, 1)
        offsets = (direction.view(-1, 1, 1, 2) * steps).expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        *,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
    ) -> Tensor:
        """Read the values around each query's reference point, and add the query.

        Args:
            query: [Q, N, C], or [N, Q, C] with ``batch_first``; so are ``value``, ``identity`` and ``query_pos``.
            key: Not used: the points follow from the query alone. It keeps the place it has in other attention layers.
            value: Pixels of all maps, [S, N, C]; None: the queries.
            identity: Added to the result; None: the queries without position.
            query_pos: Added to the queries.
            key_padding_mask: True where a pixel is padding, whose value becomes zero, [N, S].
            reference_points: Shares of width and height, (x, y) or (x, y, w, h), [N, Q, L, 2 or 4]: with w and h the
                offsets are shares of half the box.
            spatial_shapes: Height and width of each map, int64 [L, 2].
            level_start_index: Number of each map's first pixel, int64 [L].

        Returns:
            As ``query``.

        Raises:
            ValueError: If a shape does not fit.
        """
        if reference_points.shape[-1] not in (2, 4):
            raise ValueError(f"reference_points must end in 2 or 4 numbers, got shape {list(reference_points.shape)}")
        value = query if value is None else value
        identity = query if identity is None else identity
        if query_pos is not None:
            query = query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        values = self.value_proj(value)
        if key_padding_mask is not None:
            values = values.masked_fill(key_padding_mask.unsqueeze(-1), 0.0)
        values = values.unflatten(-1, (self.num_heads, -1))
        points = self.num_heads, self.num_levels, self.num_points
        offsets = self.sampling_offsets(query).unflatten(-1, (*points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = F.softmax(weights, -1).unflatten(-1, points[1:])
        places = reference_points[:, :, None, :, None]
        if reference_points.shape[-1] == 2:
            offsets = offsets / spatial_shapes.flip(-1)[:, None].to(offsets.dtype)
        else:
            offsets = offsets / self.num_points * places[..., 2:] * 0.5
        locations = places[..., :2] + offsets
        out = multi_scale_deformable_attention(values, spatial_shapes, level_start_index, locations, weights)
        out = self.output_proj(out)
        if not self.batch_first:
            out = out.transpose(0, 1)
        return self.dropout(out) + identity
