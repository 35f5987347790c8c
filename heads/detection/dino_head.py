"""DINO's head: Deformable DETR's with losses for the denoising queries (arXiv:2203.03605)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from foveal.heads.detection.deformable_detr_head import DeformableDETRHead
from foveal.registry import MODELS


@MODELS.register_module()
class DINOHead(DeformableDETRHead):
    """Head with mmdet's arguments and keys, which are those of `DeformableDETRHead`."""

    class_agnostic_proposals = False

    def denoising_loss(
        self,
        states: Sequence[Tensor],
        references: Sequence[Tensor],
        samples: Sequence[Any],
        proposals: tuple[Tensor, Tensor],
        groups: int,
        group_size: int,
    ) -> dict[str, Tensor]:
        """Return the losses of ``loss`` and ``dn_loss_cls`` … of the queries that were made from the truth.

        Args:
            states: As for ``forward``; the denoising queries come first.
            references: As for ``forward``.
            samples: N images with ``gt_instances``.
            proposals: Logits and boxes of the first stage.
            groups: Groups of denoising queries.
            group_size: Queries of one; the first half has an object each, the others are background.
        """
        truths, metas = [x.gt_instances for x in samples], [x.metainfo for x in samples]
        scores, boxes = self(states, references)
        count = groups * group_size
        losses = self.criterion.layers(scores[:, :, count:], boxes[:, :, count:], truths, metas)
        losses |= self.proposal_loss(proposals, truths, metas)
        matches = []
        for truth in truths:
            objects = torch.arange(len(truth.labels), device=scores.device)
            starts = torch.arange(groups, device=scores.device)[:, None] * group_size
            matches.append(((starts + objects).flatten(), objects.repeat(groups)))
        noisy = self.criterion.layers(scores[:, :, :count], boxes[:, :, :count], truths, metas, matches, "dn_")
        return losses | noisy
