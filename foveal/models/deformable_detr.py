"""Deformable DETR (Zhu et al., ICLR 2021, arXiv:2010.04159) and DINO (Zhang et al., ICLR 2023, arXiv:2203.03605).

Source of keys and order: ``deformable_detr.py`` and ``dino.py`` of open-mmlab/mmdetection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from foveal.errors import ConfigError, DataError
from foveal.heads.detection.denoising import CdnQueryGenerator
from foveal.layers.deformable_transformer import DeformableDecoder, DeformableEncoder, DinoDecoder, Levels
from foveal.layers.positional_encoding import sine
from foveal.models.build import Node, build_data_preprocessor
from foveal.models.query_detector import build_parts, run, shrink_mask
from foveal.ops.multi_scale_deformable_attention import MultiScaleDeformableAttention
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


@MODELS.register_module()
class DeformableDETR(BaseModel):
    """Deformable DETR, with iterative boxes and with two stages, under mmdet's arguments and keys.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck, which gives ``num_feature_levels`` maps.
        encoder: Arguments of `DeformableEncoder`.
        decoder: Arguments of `DeformableDecoder`.
        bbox_head: Config of the head.
        positional_encoding: Arguments of `SinePositionalEncoding`.
        num_queries: Queries, and proposals of the first stage.
        with_box_refine: Each decoder layer refines the boxes of the one before.
        as_two_stage: The queries start from the best proposals that the encoder's pixels make.
        num_feature_levels: Feature maps.
        train_cfg: Given to the head.
        test_cfg: Given to the head.
        data_preprocessor: Config of the batch's normalisation and padding.
        init_cfg: mmengine's initialisation config.
    """

    decoder_class: type[DeformableDecoder] = DeformableDecoder

    def __init__(
        self,
        backbone: Node,
        neck: Node | None = None,
        *,
        encoder: Options,
        decoder: Options,
        bbox_head: Options,
        positional_encoding: Options,
        num_queries: int = 100,
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        num_feature_levels: int = 4,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        layers = decoder["num_layers"] + as_two_stage
        own = {"share_pred_layer": not with_box_refine, "num_pred_layer": layers, "as_two_stage": as_two_stage}
        coder = DeformableEncoder(**encoder)
        width = coder.embed_dims
        head = {**bbox_head, **own}
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        parts = build_parts(backbone, neck, head, positional_encoding, width, train_cfg=train_cfg, test_cfg=test_cfg)
        self.backbone, self.neck, self.bbox_head, self.positional_encoding = parts
        self.embed_dims = width
        self.encoder, self.decoder = coder, self.decoder_class(**decoder)
        self.num_queries = num_queries
        self.with_box_refine = with_box_refine
        self.as_two_stage = as_two_stage
        self.level_embed = nn.Parameter(torch.randn(num_feature_levels, width))
        if as_two_stage:
            self.memory_trans_fc = nn.Linear(width, width)
            self.memory_trans_norm = nn.LayerNorm(width)
        self._add_queries()
        for part in (self.encoder, self.decoder):
            for layer in part.layers:
                for matrix in (p for n, p in layer.named_parameters() if p.dim() > 1 and "sampling" not in n):
                    nn.init.xavier_uniform_(matrix)
                for attention in (layer.self_attn, getattr(layer, "cross_attn", None)):
                    if isinstance(attention, MultiScaleDeformableAttention):
                        attention.init_weights()

    def _add_queries(self) -> None:
        """Add what the queries are made of."""
        width = self.embed_dims
        if self.as_two_stage:
            self.pos_trans_fc = nn.Linear(2 * width, 2 * width)
            self.pos_trans_norm = nn.LayerNorm(2 * width)
        else:
            self.query_embedding = nn.Embedding(self.num_queries, 2 * width)
            self.reference_points_fc = nn.Linear(width, 2)
            nn.init.xavier_uniform_(self.reference_points_fc.weight)
            nn.init.zeros_(self.reference_points_fc.bias)

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor") -> Any:
        """Run the model; arguments and results are those of `run`."""
        return run(self, inputs, data_samples, mode)

    def encode(self, feats: Sequence[Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor | None, Levels]:
        """Return the encoder's pixels [N, S, C], their padding [N, S] or None, and the levels.

        Args:
            feats: Of the neck, [N, C, h, w] each.
            mask: Bool [N, H, W] at the size of the input, True where padding. None: there is none.
        """
        masks = [shrink_mask(mask, x) for x in feats]
        positions = [self.positional_encoding(m, x.dtype) for m, x in zip(masks, feats, strict=True)]
        pixels = torch.cat([x.flatten(2).mT for x in feats], dim=1)
        embedded = zip(positions, self.level_embed, strict=True)
        places = torch.cat([x.flatten(2).mT + level for x, level in embedded], dim=1)
        padded = None if mask is None else torch.cat([m.flatten(1) for m in masks], dim=1)
        levels = Levels.of(feats, None if mask is None else masks)
        return self.encoder(pixels, places, padded, levels), padded, levels

    def propose(self, memory: Tensor, mask: Tensor | None, levels: Levels) -> tuple[Tensor, Tensor]:
        """Return each pixel's class logits [N, S, C] and box logits [N, S, 4].

        Args:
            memory: The encoder's pixels.
            mask: Their padding, or None.
            levels: Of the pixels.
        """
        centers = levels.centers()
        sides = [centers.new_full((h * w,), 0.05 * 2**i) for i, (h, w) in enumerate(levels.sizes)]
        sizes = torch.cat(sides)[None, :, None].expand(len(centers), -1, 2)
        anchors = torch.cat((centers, sizes), dim=-1)
        refused = ~((anchors > 0.01) & (anchors < 0.99)).all(-1, keepdim=True)
        if mask is not None:
            refused = refused | mask[..., None]
        # infinite logits: a box that no offset moves, from a pixel without features
        anchors = (anchors / (1 - anchors)).log().masked_fill(refused, math.inf)
        memory = self.memory_trans_norm(self.memory_trans_fc(memory.masked_fill(refused, 0)))
        last = self.decoder.num_layers
        return self.bbox_head.cls_branches[last](memory), self.bbox_head.reg_branches[last](memory) + anchors

    def decode(self, feats: Sequence[Tensor], mask: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Return the decoder layers' queries [N, Q, C] and the references that each started from.

        Args:
            feats: As for `encode`.
            mask: As for `encode`.
        """
        return self._decode(*self.encode(feats, mask))[:2]

    def best_proposals(self, scores: Tensor) -> Tensor:
        """Return the indices [N, num_queries] of the best pixels, best first.

        Args:
            scores: [N, S], of the encoder's pixels on all maps.

        Raises:
            DataError: If the images are too small to have that many pixels.
        """
        if scores.shape[1] < self.num_queries:
            raise DataError(
                f"{type(self).__name__} picks num_queries={self.num_queries} of the feature maps' pixels, and images "
                f"of this size have {scores.shape[1]}: use larger images or fewer queries"
            )
        return scores.topk(self.num_queries, dim=1).indices

    def _decode(
        self, memory: Tensor, mask: Tensor | None, levels: Levels
    ) -> tuple[list[Tensor], list[Tensor], tuple[Tensor, Tensor] | None]:
        proposals = None
        if self.as_two_stage:
            scores, boxes = self.propose(memory, mask, levels)
            proposals = scores, boxes.sigmoid()
            best = self.best_proposals(scores[..., 0])
            chosen = boxes.gather(1, best[..., None].expand(-1, -1, 4)).detach().sigmoid()
            encoded = sine(chosen * (2 * math.pi), self.embed_dims // 2).flatten(-2)
            position, query = self.pos_trans_norm(self.pos_trans_fc(encoded)).chunk(2, dim=-1)
            references = chosen
        else:
            both = self.query_embedding.weight.expand(len(memory), -1, -1)
            position, query = both.chunk(2, dim=-1)
            references = self.reference_points_fc(position).sigmoid()
        branches = self.bbox_head.reg_branches if self.with_box_refine else None
        states, starts = self.decoder(query, position, references, memory, mask, levels, branches)
        return states, starts, proposals

    def loss(self, feats: Sequence[Tensor], mask: Tensor | None, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the head's losses.

        Args:
            feats: As for `encode`.
            mask: As for `encode`.
            data_samples: N samples with ``gt_instances``.
        """
        states, starts, proposals = self._decode(*self.encode(feats, mask))
        return self.bbox_head.loss(states, starts, data_samples, proposals)


@MODELS.register_module()
class DINO(DeformableDETR):
    """DINO under mmdet's arguments and keys; in training mode the loss has denoising queries, too.

    Args:
        dn_cfg: Arguments of `CdnQueryGenerator`. None: its defaults.
        options: Those of `DeformableDETR`.

    Raises:
        ConfigError: If ``as_two_stage`` or ``with_box_refine`` is not set.
    """

    decoder_class = DinoDecoder

    def __init__(self, *args: Any, dn_cfg: Options | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if not (self.as_two_stage and self.with_box_refine):
            raise ConfigError("DINO needs as_two_stage=True and with_box_refine=True")
        self.dn_query_generator = CdnQueryGenerator(self.bbox_head.num_classes, self.embed_dims, **(dn_cfg or {}))

    def _add_queries(self) -> None:
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)
        nn.init.xavier_uniform_(self.query_embedding.weight)

    def _decode(
        self, memory: Tensor, mask: Tensor | None, levels: Levels, noisy: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> tuple[list[Tensor], list[Tensor], tuple[Tensor, Tensor]]:
        scores, boxes = self.propose(memory, mask, levels)
        best = self.best_proposals(scores.amax(-1))[..., None]
        scores = scores.gather(1, best.expand(-1, -1, scores.shape[-1]))
        boxes = boxes.gather(1, best.expand(-1, -1, 4))
        query = self.query_embedding.weight.expand(len(memory), -1, -1)
        references = boxes.detach()
        hidden = None
        if noisy is not None:
            query, references = torch.cat((noisy[0], query), dim=1), torch.cat((noisy[1], references), dim=1)
            hidden = noisy[2]
        decoder: Any = self.decoder
        branches = self.bbox_head.reg_branches
        states, starts = decoder.refined(query, references.sigmoid(), memory, mask, levels, branches, hidden)
        return states, starts, (scores, boxes.sigmoid())

    def loss(self, feats: Sequence[Tensor], mask: Tensor | None, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the head's losses; in training mode those of the denoising queries, too.

        Args:
            feats: As for `encode`.
            mask: As for `encode`.
            data_samples: N samples with ``gt_instances``.
        """
        encoded = self.encode(feats, mask)
        if not self.training:
            states, starts, proposals = self._decode(*encoded)
            return self.bbox_head.loss(states, starts, data_samples, proposals)
        *noisy, groups, size = self.dn_query_generator(data_samples, self.num_queries)
        states, starts, proposals = self._decode(*encoded, noisy)
        return self.bbox_head.denoising_loss(states, starts, data_samples, proposals, groups, size)
