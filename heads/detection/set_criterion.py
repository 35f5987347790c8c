"""Losses between a set of queries and the true boxes, each of which belongs to one query (DETR, arXiv:2005.12872)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import box_convert

from foveal.heads.assigners.hungarian_assigner import Match
from foveal.heads.detection.dense import mean_over_ranks, precise
from foveal.heads.losses.quality_focal import QualityFocalLoss
from foveal.registry import MODELS, TASK_UTILS
from foveal.structures.boxes import bbox_overlaps

Options = dict[str, Any]
Metas = Sequence[Mapping[str, Any]]

LOSSES = ("loss_cls", "loss_bbox", "loss_iou")


class SetCriterion(nn.Module):
    """Matching and the three losses of DETR and its successors, as mmdet's heads compute them.

    Args:
        loss_cls: Config of `FocalLoss` or `QualityFocalLoss`.
        loss_bbox: Config of the loss between boxes (x, y, w, h) as shares of the image.
        loss_iou: Config of the loss between boxes in pixels.
        assigner: Config of the matching. None: only ``forward`` works.
        sync_cls_avg_factor: Average the number of positives over the processes for ``loss_cls``, too.
    """

    def __init__(
        self,
        loss_cls: Options,
        loss_bbox: Options,
        loss_iou: Options,
        assigner: Options | None,
        sync_cls_avg_factor: bool = False,
    ) -> None:
        super().__init__()
        self.loss_cls: Any = MODELS.build(loss_cls)
        self.loss_bbox: Any = MODELS.build(loss_bbox)
        self.loss_iou: Any = MODELS.build(loss_iou)
        self.assigner: Any = None if assigner is None else TASK_UTILS.build(assigner)
        self.sync_cls_avg_factor = sync_cls_avg_factor

    def layers(
        self,
        scores: Sequence[Tensor] | Tensor,
        boxes: Sequence[Tensor] | Tensor,
        truths: Sequence[InstanceData],
        metas: Metas,
        matches: Sequence[Match] | None = None,
        prefix: str = "",
    ) -> dict[str, Tensor]:
        """Return the losses of every decoder layer: ``loss_cls`` … of the last one, ``d0.loss_cls`` … of the others.

        Args:
            scores: Logits [N, Q, C] of each layer.
            boxes: [N, Q, 4] of each layer, x, y, w, h as shares of the image.
            truths: N images' true objects, ``bboxes`` in pixels and ``labels``.
            metas: N images' metainfo with ``img_shape``.
            matches: N images' matches for all layers. None: each layer is matched by the assigner.
            prefix: Before the losses' names.
        """
        scores, boxes = [precise(x) for x in scores], [precise(x) for x in boxes]
        count = len(truths)
        if matches is None:
            matched = self._match(scores, boxes, truths, metas)
        else:
            matched = [*matches] * len(scores)
        losses: dict[str, Tensor] = {}
        for i, (score, box) in enumerate(zip(scores, boxes, strict=True)):
            place = "" if i == len(scores) - 1 else f"d{i}."
            values = self(score, box, truths, metas, matched[i * count : (i + 1) * count])
            losses |= {f"{place}{prefix}{name}": value for name, value in zip(LOSSES, values, strict=True)}
        return losses

    def _match(
        self, scores: Sequence[Tensor], boxes: Sequence[Tensor], truths: Sequence[InstanceData], metas: Metas
    ) -> list[Match]:
        """Match all layers and images together."""
        problems = []
        for score, box in zip(scores, boxes, strict=True):
            pixels = box_convert(box.detach(), "cxcywh", "xyxy") * _sizes(metas, box)
            for i, (truth, meta) in enumerate(zip(truths, metas, strict=True)):
                problems.append((InstanceData(scores=score[i].detach(), bboxes=pixels[i]), truth, meta))
        return self.assigner.assign(problems)

    def forward(
        self,
        scores: Tensor,
        boxes: Tensor,
        truths: Sequence[InstanceData],
        metas: Metas,
        matches: Sequence[Match],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss of classes, boxes and overlaps.

        Args:
            scores: Logits [N, Q, C].
            boxes: [N, Q, 4], x, y, w, h as shares of the image.
            truths: N images' true objects.
            metas: Their metainfo.
            matches: For each image the queries that have an object, and these objects' numbers.
        """
        sizes = _sizes(metas, boxes)
        image = torch.cat([torch.full_like(query, i) for i, (query, _) in enumerate(matches)])
        query = torch.cat([query for query, _ in matches])
        found, size = boxes[image, query], sizes[image, 0]
        pairs = list(zip(truths, matches, strict=True))
        labels = torch.full(scores.shape[:2], scores.shape[-1], dtype=torch.long, device=scores.device)
        labels[image, query] = torch.cat([truth.labels[which] for truth, (_, which) in pairs])
        target = torch.cat([truth.bboxes[which] for truth, (_, which) in pairs]).to(boxes) / size
        positives = mean_over_ranks(boxes.new_tensor(float(len(query))))
        count = (positives if self.sync_cls_avg_factor else boxes.new_tensor(float(len(query)))).clamp(min=1)
        aim: Any = labels.flatten()
        if isinstance(self.loss_cls, QualityFocalLoss):
            quality = torch.zeros_like(labels, dtype=scores.dtype)
            quality[image, query] = bbox_overlaps(box_convert(found.detach(), "cxcywh", "xyxy"), target, aligned=True)
            aim = (aim, quality.flatten())
        return (
            self.loss_cls(scores.flatten(0, 1), aim, avg_factor=count),
            self.loss_bbox(found, box_convert(target, "xyxy", "cxcywh"), avg_factor=positives.clamp(min=1)),
            self.loss_iou(
                box_convert(found, "cxcywh", "xyxy") * size, target * size, avg_factor=positives.clamp(min=1)
            ),
        )


def _sizes(metas: Metas, boxes: Tensor) -> Tensor:
    """Width, height, width, height of N images as [N, 1, 4]."""
    shapes = [meta["img_shape"] for meta in metas]
    return boxes.new_tensor([[[w, h, w, h]] for h, w in (shape[:2] for shape in shapes)])


def best_queries(
    scores: Tensor, boxes: Tensor, metas: Metas, max_per_img: int | None, rescale: bool = True
) -> list[InstanceData]:
    """Return the best pairs of query and class.

    Args:
        scores: Logits [N, Q, C].
        boxes: [N, Q, 4], x, y, w, h as shares of the image.
        metas: N images' metainfo.
        max_per_img: How many pairs an image has. None: Q.
        rescale: Give boxes in pixels of the original images.

    Returns:
        N of ``bboxes``, ``scores`` and ``labels``, best first.
    """
    results = []
    for score, box, meta, size in zip(
        precise(scores), precise(boxes), metas, _sizes(metas, precise(boxes)), strict=True
    ):
        count = len(score) if max_per_img is None else max_per_img
        best, index = score.sigmoid().flatten().topk(min(count, score.numel()))
        pixels = box_convert(box[index // score.shape[1]], "cxcywh", "xyxy") * size
        pixels = torch.minimum(pixels.clamp(min=0), size)
        if rescale:
            pixels = pixels / pixels.new_tensor(meta["scale_factor"]).repeat(2)
        results.append(InstanceData(bboxes=pixels, scores=best, labels=index % score.shape[1]))
    return results
