"""Conditional DETR (Meng et al., ICCV 2021, arXiv:2108.06152).

Source of keys and order: ``conditional_detr.py`` and ``detr.py`` of open-mmlab/mmdetection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from foveal.layers.conditional_transformer import ConditionalDecoder
from foveal.layers.transformer import EncoderLayer
from foveal.models.build import Node, build_data_preprocessor
from foveal.models.query_detector import build_parts, run, shrink_mask
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


@MODELS.register_module()
class ConditionalDETR(BaseModel):
    """Conditional DETR under mmdet's arguments and keys; it reads the coarsest feature map.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck.
        encoder: ``num_layers`` and ``layer_cfg``, the arguments of `EncoderLayer`.
        decoder: Arguments of `ConditionalDecoder`.
        bbox_head: Config of the head.
        positional_encoding: Arguments of `SinePositionalEncoding`.
        num_queries: Queries.
        train_cfg: Given to the head.
        test_cfg: Given to the head.
        data_preprocessor: Config of the batch's normalisation and padding.
        init_cfg: mmengine's initialisation config.
    """

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
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        width = encoder["layer_cfg"]["self_attn_cfg"]["embed_dims"]
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        parts = build_parts(
            backbone, neck, bbox_head, positional_encoding, width, train_cfg=train_cfg, test_cfg=test_cfg
        )
        self.backbone, self.neck, self.bbox_head, self.positional_encoding = parts
        layers = [EncoderLayer(**encoder["layer_cfg"]) for _ in range(encoder["num_layers"])]
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.decoder = ConditionalDecoder(**decoder)
        self.query_embedding = nn.Embedding(num_queries, width)
        for matrix in (p for part in (self.encoder, self.decoder) for p in part.parameters() if p.dim() > 1):
            nn.init.xavier_uniform_(matrix)

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor") -> Any:
        """Run the model; arguments and results are those of `run`."""
        return run(self, inputs, data_samples, mode)

    def decode(self, feats: Sequence[Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the decoder layers' queries [L, N, Q, C] and the reference points [N, Q, 2].

        Args:
            feats: Of the neck, [N, C, h, w] each.
            mask: Bool [N, H, W] at the size of the input, True where padding. None: there is none.
        """
        x = feats[-1]
        small = shrink_mask(mask, x)
        place = self.positional_encoding(small, x.dtype).flatten(2).mT
        padded = None if mask is None else small.flatten(1)
        memory = x.flatten(2).mT
        layers: Any = self.encoder["layers"]
        for layer in layers:
            memory = layer(memory, place, padded)
        query_pos = self.query_embedding.weight.expand(len(x), -1, -1)
        return self.decoder(torch.zeros_like(query_pos), query_pos, memory, place, padded)

    def loss(self, feats: Sequence[Tensor], mask: Tensor | None, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the head's losses.

        Args:
            feats: As for `decode`.
            mask: As for `decode`.
            data_samples: N samples with ``gt_instances``.
        """
        return self.bbox_head.loss(*self.decode(feats, mask), data_samples)
