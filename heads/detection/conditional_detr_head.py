"""Conditional DETR's head: one classifier and box regressor for all decoder layers (arXiv:2108.06152)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule, bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from foveal.heads.detection.deformable_detr_head import FOCAL, GIOU, L1
from foveal.heads.detection.set_criterion import SetCriterion, best_queries
from foveal.layers.deformable_transformer import refine
from foveal.layers.transformer import FFN
from foveal.registry import MODELS

Options = dict[str, Any]


@MODELS.register_module()
class ConditionalDETRHead(BaseModule):
    """Head with mmdet's arguments and keys (``fc_cls``, ``reg_ffn``, ``fc_reg``).

    Args:
        num_classes: C.
        embed_dims: Channels of the queries.
        num_reg_fcs: Linear layers before the last of the box regressor.
        sync_cls_avg_factor: Average the number of positives over the processes for ``loss_cls``, too.
        loss_cls: Config of `FocalLoss` or `QualityFocalLoss`.
        loss_bbox: Config of the loss of the boxes as shares of the image.
        loss_iou: Config of the loss of the boxes in pixels.
        train_cfg: ``assigner``, the config of the matching.
        test_cfg: ``max_per_img``, results an image.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int = 256,
        num_reg_fcs: int = 2,
        sync_cls_avg_factor: bool = False,
        loss_cls: Options = FOCAL,
        loss_bbox: Options = L1,
        loss_iou: Options = GIOU,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.test_cfg = test_cfg or {}
        self.criterion = SetCriterion(
            loss_cls, loss_bbox, loss_iou, (train_cfg or {}).get("assigner"), sync_cls_avg_factor
        )
        self.fc_cls = nn.Linear(embed_dims, num_classes)
        nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))
        self.reg_ffn = FFN(embed_dims, embed_dims, num_reg_fcs, add_identity=False)
        self.fc_reg = nn.Linear(embed_dims, 4)

    def forward(self, states: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Return every layer's logits [L, N, Q, C] and boxes [L, N, Q, 4] (x, y, w, h as shares of the image).

        Args:
            states: Queries after each layer, [L, N, Q, embed_dims].
            references: (x, y) as shares of the image, [N, Q, 2].
        """
        return self.fc_cls(states), refine(self.fc_reg(F.relu(self.reg_ffn(states))), references)

    def loss(self, states: Tensor, references: Tensor, samples: Sequence[Any]) -> dict[str, Tensor]:
        """Return the losses of every layer.

        Args:
            states: As for ``forward``.
            references: As for ``forward``.
            samples: N images with ``gt_instances``.
        """
        scores, boxes = self(states, references)
        truths, metas = [x.gt_instances for x in samples], [x.metainfo for x in samples]
        return self.criterion.layers(list(scores), list(boxes), truths, metas)

    def predict(
        self, states: Tensor, references: Tensor, samples: Sequence[Any], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the last layer's best boxes.

        Args:
            states: As for ``forward``.
            references: As for ``forward``.
            samples: N images with ``img_shape`` and ``scale_factor``.
            rescale: Give boxes in pixels of the original images.
        """
        scores, boxes = self(states[-1:], references)
        metas = [x.metainfo for x in samples]
        return best_queries(scores[-1], boxes[-1], metas, self.test_cfg.get("max_per_img"), rescale)
