"""Attention and feed-forward layers of detection transformers, under the keys of mmcv's layers of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

from foveal.ops.multi_scale_deformable_attention import MultiScaleDeformableAttention

Options = dict[str, Any]

_DROPOUT = {"type": "Dropout", "drop_prob": 0.0}
_RELU = {"type": "ReLU", "inplace": True}
_LN = {"type": "LN"}


class MultiheadAttention(nn.Module):
    """`torch.nn.MultiheadAttention` (key ``attn``) with positions and a residual, as mmcv's.

    Args:
        embed_dims: C.
        num_heads: Heads.
        attn_drop: Probability that a weight is dropped.
        proj_drop: The same for a number of the result.
        dropout_layer: ``dict(drop_prob=…)``, a second dropout of the result. None: none.
        batch_first: Queries are [N, Q, C]; otherwise [Q, N, C].
        dropout: Sets ``attn_drop`` and ``dropout_layer`` at once, as older configs do.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        dropout_layer: Options | None = _DROPOUT,
        batch_first: bool = False,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        after = (dropout_layer or {}).get("drop_prob", 0.0) if dropout is None else dropout
        self.attn = nn.MultiheadAttention(
            embed_dims, num_heads, attn_drop if dropout is None else dropout, batch_first=batch_first
        )
        self.proj_drop = nn.Dropout(proj_drop)
        self.dropout_layer = nn.Dropout(after)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Return ``query`` with what it attends to added.

        Args:
            query: [N, Q, C] or [Q, N, C].
            key: Likewise; None: the queries.
            value: Likewise; None: the keys, without their positions.
            query_pos: Added to the queries.
            key_pos: Added to the keys. None: ``query_pos`` where the keys are the queries.
            attn_mask: Bool, True where a query must not look: [Q, K] or [N * heads, Q, K].
            key_padding_mask: Bool [N, K], True where a key is padding.
        """
        if key is None:
            key, key_pos = query, query_pos if key_pos is None else key_pos
        value = key if value is None else value
        queries = query if query_pos is None else query + query_pos
        keys = key if key_pos is None else key + key_pos
        out = self.attn(
            queries, keys, value, attn_mask=attn_mask, key_padding_mask=key_padding_mask, need_weights=False
        )[0]
        return query + self.dropout_layer(self.proj_drop(out))


class FFN(nn.Module):
    """Linear layers with a residual; keys ``layers.0.0``, …, ``layers.n``, as mmcv's.

    Args:
        embed_dims: C, in and out.
        feedforward_channels: Channels between.
        num_fcs: Linear layers, at least 2.
        act_cfg: mmcv's activation config.
        ffn_drop: Probability that a number is dropped after each layer.
        dropout_layer: ``dict(drop_prob=…)``, a dropout of the result. None: none.
        add_identity: Add what came in.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        feedforward_channels: int = 1024,
        num_fcs: int = 2,
        act_cfg: Options = _RELU,
        ffn_drop: float = 0.0,
        dropout_layer: Options | None = None,
        add_identity: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(num_fcs - 1):
            linear = nn.Linear(feedforward_channels if i else embed_dims, feedforward_channels)
            layers.append(nn.Sequential(linear, build_activation_layer(dict(act_cfg)), nn.Dropout(ffn_drop)))
        layers += [nn.Linear(feedforward_channels, embed_dims), nn.Dropout(ffn_drop)]
        self.layers = nn.Sequential(*layers)
        self.dropout_layer = nn.Dropout((dropout_layer or {}).get("drop_prob", 0.0))
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., C] of [..., C]."""
        out = self.dropout_layer(self.layers(x))
        return x + out if self.add_identity else out


class LinearStack(nn.Module):
    """Linear layers with ReLU between, keys ``layers.i``: mmdet's ``MLP``.

    Args:
        channels: Channels that come in, between the layers, and that go out.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., channels[-1]] of [..., channels[0]]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class EncoderLayer(nn.Module):
    """Attention among pixels and a feed-forward network, each followed by a norm: mmdet's encoder layers.

    Args:
        self_attn_cfg: Arguments of the attention.
        ffn_cfg: Arguments of `FFN`.
        norm_cfg: mmcv's norm config.
        deformable: The attention is `MultiScaleDeformableAttention`; otherwise `MultiheadAttention`.
    """

    def __init__(
        self, self_attn_cfg: Options, ffn_cfg: Options, norm_cfg: Options = _LN, *, deformable: bool = False
    ) -> None:
        super().__init__()
        kind = MultiScaleDeformableAttention if deformable else MultiheadAttention
        self.self_attn: Any = kind(**{"batch_first": True, **self_attn_cfg})
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = FFN(**ffn_cfg)
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(2))

    def forward(self, query: Tensor, query_pos: Tensor, key_padding_mask: Tensor | None, **places: Tensor) -> Tensor:
        """Return [N, S, C].

        Args:
            query: Pixels [N, S, C].
            query_pos: Their positions.
            key_padding_mask: Bool [N, S], True where padding; or None.
            places: What deformable attention needs besides.
        """
        query = self.self_attn(query, query_pos=query_pos, key_padding_mask=key_padding_mask, **places)
        return self.norms[1](self.ffn(self.norms[0](query)))


class DecoderLayer(nn.Module):
    """Attention among queries, to the image, and a feed-forward network, each followed by a norm: mmdet's layers.

    Args:
        self_attn_cfg: Arguments of `MultiheadAttention`.
        cross_attn_cfg: Arguments of the attention to the image.
        ffn_cfg: Arguments of `FFN`.
        norm_cfg: mmcv's norm config.
        deformable: The attention to the image is `MultiScaleDeformableAttention`.
        cross_first: It comes before the attention among queries (Mask2Former).
    """

    def __init__(
        self,
        self_attn_cfg: Options,
        cross_attn_cfg: Options,
        ffn_cfg: Options,
        norm_cfg: Options = _LN,
        *,
        deformable: bool = False,
        cross_first: bool = False,
    ) -> None:
        super().__init__()
        kind = MultiScaleDeformableAttention if deformable else MultiheadAttention
        self.self_attn = MultiheadAttention(**{"num_heads": 8, "batch_first": True, **self_attn_cfg})
        self.cross_attn: Any = kind(**{"num_heads": 8, "batch_first": True, **cross_attn_cfg})
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = FFN(**ffn_cfg)
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(3))
        self.cross_first = cross_first

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        *,
        self_attn_mask: Tensor | None = None,
        **image: Any,
    ) -> Tensor:
        """Return [N, Q, C].

        Args:
            query: [N, Q, C].
            query_pos: Their positions.
            self_attn_mask: Bool [Q, Q], True where a query must not look at another.
            image: Arguments of the attention to the image besides the queries.
        """
        for norm, first in zip(self.norms[:2], (True, False), strict=True):
            if first == self.cross_first:
                query = self.cross_attn(query, query_pos=query_pos, **image)
            else:
                query = self.self_attn(query, query_pos=query_pos, attn_mask=self_attn_mask)
            query = norm(query)
        return self.norms[2](self.ffn(query))


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the logit of probabilities, which may be 0 and 1: they count as ``eps`` from there."""
    x = x.clamp(0, 1)
    return (x.clamp(min=eps) / (1 - x).clamp(min=eps)).log()
