"""Deformable DETR's head: a classifier and a box regressor for each decoder layer (arXiv:2010.04159)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from foveal.heads.detection.set_criterion import SetCriterion, best_queries
from foveal.layers.deformable_transformer import refine
from foveal.registry import MODELS

Options = dict[str, Any]

FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 2.0}
L1 = {"type": "L1Loss", "loss_weight": 5.0}
GIOU = {"type": "GIoULoss", "loss_weight": 2.0}


@MODELS.register_module()
class DeformableDETRHead(BaseModule):
    """Head with mmdet's arguments and keys (``cls_branches.i``, ``reg_branches.i``).

    Args:
        num_classes: C.
        embed_dims: Channels of the queries.
        num_reg_fcs: Hidden layers of the box regressor.
        sync_cls_avg_factor: Average the number of positives over the processes for ``loss_cls``, too.
        loss_cls: Config of `FocalLoss` or `QualityFocalLoss`.
        loss_bbox: Config of the loss of the boxes as shares of the image.
        loss_iou: Config of the loss of the boxes in pixels.
        train_cfg: ``assigner``, the config of the matching.
        test_cfg: ``max_per_img``, results an image.
        share_pred_layer: All layers have one classifier and regressor; set by the detector.
        num_pred_layer: Number of layers; set by the detector.
        as_two_stage: The last layer makes the proposals; set by the detector.
        init_cfg: mmengine's initialisation config.
    """

    # two-stage proposals know only "something is there"; DINO's know the class
    class_agnostic_proposals = True

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
        share_pred_layer: bool = False,
        num_pred_layer: int = 6,
        as_two_stage: bool = False,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.test_cfg = test_cfg or {}
        self.criterion = SetCriterion(
            loss_cls, loss_bbox, loss_iou, (train_cfg or {}).get("assigner"), sync_cls_avg_factor
        )
        classifier = nn.Linear(embed_dims, num_classes)
        nn.init.constant_(classifier.bias, bias_init_with_prob(0.01))
        hidden = [layer for _ in range(num_reg_fcs) for layer in (nn.Linear(embed_dims, embed_dims), nn.ReLU())]
        last = nn.Linear(embed_dims, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        regressor = nn.Sequential(*hidden, last)
        clone: Any = (lambda x: x) if share_pred_layer else copy.deepcopy
        self.cls_branches = nn.ModuleList(clone(classifier) for _ in range(num_pred_layer))
        self.reg_branches: Any = nn.ModuleList(clone(regressor) for _ in range(num_pred_layer))
        if not as_two_stage:
            # the first boxes, which have no reference size, start small
            first: Any = self.reg_branches[0]
            nn.init.constant_(first[-1].bias[2:], -2.0)

    def forward(self, states: Sequence[Tensor], references: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return every layer's logits [L, N, Q, C] and boxes [L, N, Q, 4] (x, y, w, h as shares of the image).

        Args:
            states: Queries [N, Q, embed_dims] after each layer.
            references: What each layer started from, [N, Q, 2 or 4].
        """
        scores = [branch(state) for branch, state in zip(self.cls_branches, states, strict=False)]
        boxes = [
            refine(branch(state), start)
            for branch, state, start in zip(self.reg_branches, states, references, strict=False)
        ]
        return torch.stack(scores), torch.stack(boxes)

    def loss(
        self,
        states: Sequence[Tensor],
        references: Sequence[Tensor],
        samples: Sequence[Any],
        proposals: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of every layer, and ``enc_loss_cls`` … of the proposals.

        Args:
            states: As for ``forward``.
            references: As for ``forward``.
            samples: N images with ``gt_instances``.
            proposals: Logits [N, S, C] and boxes [N, S, 4] of the first stage. None: there is none.
        """
        truths, metas = [x.gt_instances for x in samples], [x.metainfo for x in samples]
        scores, boxes = self(states, references)
        losses = self.criterion.layers(scores, boxes, truths, metas)
        return losses | self.proposal_loss(proposals, truths, metas)

    def proposal_loss(
        self,
        proposals: tuple[Tensor, Tensor] | None,
        truths: Sequence[InstanceData],
        metas: Sequence[Mapping[str, Any]],
    ) -> dict[str, Tensor]:
        """Return ``enc_loss_cls``, ``enc_loss_bbox`` and ``enc_loss_iou``, or nothing without proposals."""
        if proposals is None:
            return {}
        if self.class_agnostic_proposals:
            truths = [InstanceData(bboxes=x.bboxes, labels=torch.zeros_like(x.labels)) for x in truths]
        scores, boxes = proposals
        return self.criterion.layers([scores], [boxes], truths, metas, prefix="enc_")

    def predict(
        self, states: Sequence[Tensor], references: Sequence[Tensor], samples: Sequence[Any], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the last layer's best boxes.

        Args:
            states: As for ``forward``.
            references: As for ``forward``.
            samples: N images with ``img_shape`` and ``scale_factor``.
            rescale: Give boxes in pixels of the original images.
        """
        scores, boxes = self(states, references)
        metas = [x.metainfo for x in samples]
        return best_queries(scores[-1], boxes[-1], metas, self.test_cfg.get("max_per_img"), rescale)
