"""Conditional DETR's decoder: content and place are compared apart (Meng et al., ICCV 2021, arXiv:2108.06152).

Source of keys and order: ``conditional_detr_layers.py`` of open-mmlab/mmdetection.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from foveal.layers.positional_encoding import coordinate_to_encoding
from foveal.layers.transformer import FFN, LinearStack

Options = dict[str, Any]

_LN = {"type": "LN"}


class ConditionalAttention(nn.Module):
    """Attention with projections of its own for content and place.

    Args:
        embed_dims: C.
        num_heads: Heads.
        attn_drop: Probability that a weight is dropped.
        proj_drop: The same for a number of the result.
        cross_attn: Attends to the image; the encoded reference point then takes the query's place.
        batch_first: Must be True; taken for mmdet's configs.
        with_query_place: The queries' own positions are projected; only the first cross-attention does.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        cross_attn: bool = False,
        batch_first: bool = True,
        *,
        with_query_place: bool = True,
    ) -> None:
        super().__init__()
        if not batch_first:
            raise ValueError("ConditionalAttention has batch_first=True only")
        self.num_heads = num_heads
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj_drop = nn.Dropout(proj_drop)
        self.qcontent_proj = nn.Linear(embed_dims, embed_dims)
        self.qpos_proj = nn.Linear(embed_dims, embed_dims) if with_query_place else None
        self.kcontent_proj = nn.Linear(embed_dims, embed_dims)
        self.kpos_proj = nn.Linear(embed_dims, embed_dims)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        self.qpos_sine_proj = nn.Linear(embed_dims, embed_dims) if cross_attn else None
        self.out_proj = nn.Linear(embed_dims, embed_dims)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        key_padding_mask: Tensor | None = None,
        encoded: Tensor | None = None,
    ) -> Tensor:
        """Return ``query`` with what it attends to added.

        Args:
            query: [N, Q, C].
            key: [N, K, C].
            query_pos: The queries' positions.
            key_pos: The keys'.
            key_padding_mask: Bool [N, K], True where padding. None: there is none.
            encoded: The reference points' encodings [N, Q, C]; needed with ``cross_attn``.
        """
        q, k, place = self.qcontent_proj(query), self.kcontent_proj(key), self.kpos_proj(key_pos)
        if self.qpos_proj is not None:
            q, k = q + self.qpos_proj(query_pos), k + place
        parts = (q, k, self.v_proj(key), place)
        q, k, v, place = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in parts)
        if self.qpos_sine_proj is not None:
            sines = self.qpos_sine_proj(encoded).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            q, k = torch.cat((q, sines), dim=-1), torch.cat((k, place), dim=-1)
        seen = None if key_padding_mask is None else ~key_padding_mask[:, None, None]
        drop = self.attn_drop.p if self.attn_drop.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, seen, drop)
        return query + self.proj_drop(self.out_proj(out.transpose(1, 2).flatten(2)))


class ConditionalDecoderLayer(nn.Module):
    """Attention among queries, to the image, and a feed-forward network, each followed by a norm.

    Args:
        self_attn_cfg: Arguments of `ConditionalAttention`.
        cross_attn_cfg: Likewise.
        ffn_cfg: Arguments of `FFN`.
        norm_cfg: mmcv's norm config.
        first: It is the decoder's first layer.
    """

    def __init__(
        self,
        self_attn_cfg: Options,
        cross_attn_cfg: Options,
        ffn_cfg: Options,
        norm_cfg: Options = _LN,
        *,
        first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = ConditionalAttention(**self_attn_cfg)
        self.cross_attn = ConditionalAttention(**cross_attn_cfg, with_query_place=first)
        self.ffn = FFN(**ffn_cfg)
        width = self_attn_cfg["embed_dims"]
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, width)[1] for _ in range(3))

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_pos: Tensor,
        mask: Tensor | None,
        encoded: Tensor,
    ) -> Tensor:
        """Return [N, Q, C].

        Args:
            query: [N, Q, C].
            query_pos: Their positions.
            memory: The image's pixels [N, S, C].
            memory_pos: Their positions.
            mask: Bool [N, S], True where padding. None: there is none.
            encoded: The reference points' encodings [N, Q, C].
        """
        query = self.norms[0](self.self_attn(query, query, query_pos, query_pos))
        query = self.norms[1](self.cross_attn(query, memory, query_pos, memory_pos, mask, encoded))
        return self.norms[2](self.ffn(query))


class ConditionalDecoder(nn.Module):
    """The layers; keys ``layers.i``, ``post_norm``, ``query_scale``, ``ref_point_head``.

    Args:
        num_layers: How many.
        layer_cfg: Arguments of `ConditionalDecoderLayer`.
        return_intermediate: All layers' results are returned; taken for mmdet's configs.
        post_norm_cfg: mmcv's norm config.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Options,
        return_intermediate: bool = True,
        post_norm_cfg: Options = _LN,
    ) -> None:
        super().__init__()
        width = layer_cfg["self_attn_cfg"]["embed_dims"]
        self.layers = nn.ModuleList(ConditionalDecoderLayer(**layer_cfg, first=i == 0) for i in range(num_layers))
        self.post_norm = build_norm_layer(post_norm_cfg, width)[1]
        self.query_scale = LinearStack([width, width, width])
        self.ref_point_head = LinearStack([width, width, 2])

    def forward(
        self, query: Tensor, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return each layer's queries [L, N, Q, C] and the reference points (x, y) [N, Q, 2] as shares of the image.

        Args:
            query: [N, Q, C].
            query_pos: Their positions.
            memory: The image's pixels [N, S, C].
            memory_pos: Their positions.
            mask: Bool [N, S], True where padding. None: there is none.
        """
        reference = self.ref_point_head(query_pos).sigmoid()
        sines = coordinate_to_encoding(reference, num_feats=query.shape[-1] // 2)
        states = []
        for i, layer in enumerate(self.layers):
            encoded = sines * self.query_scale(query) if i else sines
            query = layer(query, query_pos, memory, memory_pos, mask, encoded)
            states.append(self.post_norm(query))
        return torch.stack(states), reference
