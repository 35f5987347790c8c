"""Encoder and decoders whose queries read a few points of several feature maps (Deformable DETR, arXiv:2010.04159).

Source of keys and order: ``deformable_detr_layers.py`` and ``dino_layers.py`` of open-mmlab/mmdetection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from foveal.errors import ConfigError
from foveal.layers.positional_encoding import coordinate_to_encoding
from foveal.layers.state_dict import adapt
from foveal.layers.transformer import DecoderLayer, EncoderLayer, LinearStack, inverse_sigmoid

Options = dict[str, Any]


@dataclass
class Levels:
    """Several feature maps as one row of pixels.

    Args:
        sizes: (h, w) of each map.
        spatial_shapes: The same, int64 [L, 2].
        level_start_index: Number of each map's first pixel, int64 [L].
        valid_ratios: Share of width and height that is no padding, [N, L, 2].
    """

    sizes: list[tuple[int, int]]
    spatial_shapes: Tensor
    level_start_index: Tensor
    valid_ratios: Tensor

    @classmethod
    def of(cls, maps: Sequence[Tensor], masks: Sequence[Tensor] | None = None) -> Levels:
        """Describe feature maps.

        Args:
            maps: [N, C, h, w] each.
            masks: Bool [N, h, w] each, True where padding. None: there is none.
        """
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        starts = [sum(h * w for h, w in sizes[:i]) for i in range(len(sizes))]
        first = maps[0]
        if masks is None:
            ratios = first.new_ones(len(first), len(maps), 2)
        else:
            shares = [((~m[:, 0]).to(first).mean(1), (~m[:, :, 0]).to(first).mean(1)) for m in masks]
            ratios = torch.stack([torch.stack(pair, dim=-1) for pair in shares], dim=1)
        return cls(
            sizes,
            torch.tensor(sizes, dtype=torch.long, device=first.device),
            torch.tensor(starts, dtype=torch.long, device=first.device),
            ratios,
        )

    def centers(self) -> Tensor:
        """Return where in the maps without padding each pixel's centre lies, (x, y) [N, S, 2]."""
        parts = []
        for i, (height, width) in enumerate(self.sizes):
            y = torch.arange(height, dtype=self.valid_ratios.dtype, device=self.valid_ratios.device) + 0.5
            x = torch.arange(width, dtype=self.valid_ratios.dtype, device=self.valid_ratios.device) + 0.5
            grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
            size = self.valid_ratios[:, None, i] * grid.new_tensor([width, height])
            parts.append(grid / size)
        return torch.cat(parts, dim=1)

    def attention(self, reference_points: Tensor) -> dict[str, Tensor]:
        """Return the arguments that deformable attention needs besides queries and values.

        Args:
            reference_points: Shares of the images without padding, [N, Q, 2 or 4].
        """
        ratios = self.valid_ratios.repeat(1, 1, reference_points.shape[-1] // 2)
        return {
            "reference_points": reference_points[:, :, None] * ratios[:, None],
            "spatial_shapes": self.spatial_shapes,
            "level_start_index": self.level_start_index,
        }


class DeformableEncoder(nn.Module):
    """Layers in which pixels of all levels attend to each other; keys ``layers.i``.

    Args:
        num_layers: How many.
        layer_cfg: Arguments of `EncoderLayer`.
        num_cp: The first so many save memory by computing twice.
        init_cfg: None; taken for mmdet's configs.
    """

    def __init__(self, num_layers: int, layer_cfg: Options, num_cp: int = -1, init_cfg: None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(**layer_cfg, deformable=True) for _ in range(num_layers))
        self.embed_dims: int = layer_cfg["self_attn_cfg"]["embed_dims"]
        self.num_cp = num_cp

    def forward(self, query: Tensor, query_pos: Tensor, mask: Tensor | None, levels: Levels) -> Tensor:
        """Return the pixels [N, S, C].

        Args:
            query: Pixels of all levels.
            query_pos: Their positions.
            mask: Bool [N, S], True where padding. None: there is none.
            levels: Of the pixels.
        """
        places = levels.attention(levels.centers())
        layers: Any = self.layers
        for i, layer in enumerate(layers):
            if i < self.num_cp and self.training:
                query = checkpoint(partial(layer, **places), query, query_pos, mask, use_reentrant=False)
            else:
                query = layer(query, query_pos, mask, **places)
        return query


class DeformableDecoder(nn.Module):
    """Layers in which queries attend to each other and to points of all levels; keys ``layers.i``.

    Args:
        num_layers: How many.
        layer_cfg: Arguments of `DecoderLayer`.
        return_intermediate: All layers' results are returned: must be True.
        post_norm_cfg: None; taken for mmdet's configs.
        init_cfg: None, likewise.

    Raises:
        ConfigError: If there is a ``post_norm_cfg``, or ``return_intermediate`` is False.
    """

    # how far from 0 and 1 a reference is kept before it is refined
    eps = 1e-5

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Options,
        return_intermediate: bool = True,
        post_norm_cfg: None = None,
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        if post_norm_cfg is not None or not return_intermediate:
            raise ConfigError("a deformable decoder has post_norm_cfg=None and return_intermediate=True only")
        self.layers = nn.ModuleList(DecoderLayer(**layer_cfg, deformable=True) for _ in range(num_layers))
        self.num_layers = num_layers
        self.embed_dims: int = layer_cfg["self_attn_cfg"]["embed_dims"]

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        references: Tensor,
        memory: Tensor,
        mask: Tensor | None,
        levels: Levels,
        reg_branches: nn.ModuleList | None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return each layer's queries [N, Q, C] and the references [N, Q, 2 or 4] that it started from.

        Args:
            query: [N, Q, C].
            query_pos: Their positions.
            references: Shares of the image, (x, y) or (x, y, w, h).
            memory: Pixels of all levels, [N, S, C].
            mask: Bool [N, S], True where padding. None: there is none.
            levels: Of the pixels.
            reg_branches: Refine the references layer by layer. None: they stay.
        """
        states, starts = [], []
        for i, layer in enumerate(self.layers):
            places = levels.attention(references)
            query = layer(query, query_pos, value=memory, key_padding_mask=mask, **places)
            states.append(query)
            starts.append(references)
            if reg_branches is not None:
                references = refine(reg_branches[i](query), references, self.eps).detach()
        return states, starts


class DinoDecoder(DeformableDecoder):
    """DINO's decoder (arXiv:2203.03605): positions follow from the boxes, gradients look forward twice.

    Arguments are those of `DeformableDecoder`; more keys are ``ref_point_head`` and ``norm``. Checkpoints of the
    continuation of mmdetection (3.5) have twice as many frequencies in ``ref_point_head``: loading one widens it.
    """

    eps = 1e-3

    def __init__(self, num_layers: int, layer_cfg: Options, **options: Any) -> None:
        super().__init__(num_layers, layer_cfg, **options)
        width = self.embed_dims
        self.ref_point_head = LinearStack([width * 2, width, width])
        self.norm = nn.LayerNorm(width)
        self.register_load_state_dict_pre_hook(adapt)

    def adapt_state_dict(self, state_dict: Options, prefix: str) -> None:
        """Give the first positional layer the inputs that a checkpoint has."""
        weight = state_dict.get(f"{prefix}ref_point_head.layers.0.weight")
        layers: Any = self.ref_point_head.layers
        if weight is not None and weight.shape[1] == 4 * self.embed_dims != layers[0].in_features:
            layers[0] = nn.Linear(weight.shape[1], self.embed_dims).to(layers[0].weight)
            self.ref_point_head.channels[0] = weight.shape[1]

    def refined(
        self,
        query: Tensor,
        references: Tensor,
        memory: Tensor,
        mask: Tensor | None,
        levels: Levels,
        reg_branches: nn.ModuleList,
        self_attn_mask: Tensor | None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As the other decoder's ``forward``; the references keep the gradient of the layer that made them.

        Args:
            query: [N, Q, C].
            references: Shares of the image, (x, y, w, h) [N, Q, 4].
            memory: Pixels of all levels, [N, S, C].
            mask: Bool [N, S], True where padding. None: there is none.
            levels: Of the pixels.
            reg_branches: Refine the references layer by layer.
            self_attn_mask: Bool [Q, Q], True where a query must not look at another.
        """
        states, starts = [], [references]
        frequencies = self.ref_point_head.channels[0] // 4
        for i, layer in enumerate(self.layers):
            places = levels.attention(references)
            encoded = coordinate_to_encoding(places["reference_points"][:, :, 0], num_feats=frequencies)
            query = layer(
                query,
                self.ref_point_head(encoded),
                self_attn_mask=self_attn_mask,
                value=memory,
                key_padding_mask=mask,
                **places,
            )
            starts.append(refine(reg_branches[i](query), references, self.eps))
            references = starts[-1].detach()
            states.append(self.norm(query))
        return states, starts[:-1]


def refine(offsets: Tensor, references: Tensor, eps: float = 1e-5) -> Tensor:
    """Move references by offsets.

    Args:
        offsets: Logits [..., 4].
        references: Shares of the image, [..., 4], or [..., 2], which have no size yet.
        eps: How far from 0 and 1 they are kept.

    Returns:
        Boxes (x, y, w, h) as shares of the image, [..., 4].
    """
    start = inverse_sigmoid(references, eps)
    if start.shape[-1] == 2:
        start = torch.cat((start, torch.zeros_like(start)), dim=-1)
    return (offsets + start).sigmoid()
