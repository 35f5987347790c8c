"""What a head with anchors learns for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from foveal.heads.anchors import AnchorGenerator
from foveal.heads.detection.dense import pad_instances, split_ignored

Size = tuple[int, int]


@dataclass
class AnchorTargets:
    """Targets of a batch of N images with P anchors each.

    Args:
        labels: int64 [N, P]; background is the number of classes.
        label_weights: [N, P], 0 where ignored.
        boxes: [N, P, 4], the matched true box x1, y1, x2, y2; meaningless where not positive.
        positive: bool [N, P].
        avg_factor: Scalar tensor that the losses are divided by.
    """

    labels: Tensor
    label_weights: Tensor
    boxes: Tensor
    positive: Tensor
    avg_factor: Tensor


@torch.no_grad()
def anchor_targets(
    anchors: Tensor,
    usable: Sequence[Tensor | None],
    samples: Sequence[BaseDataElement],
    assigner: Any,
    sampler: Any,
    num_classes: int,
    pos_weight: float = -1,
    level_counts: Sequence[int] | None = None,
) -> AnchorTargets:
    """Assign, sample and gather. Nothing is read back from the device, except for images that cannot use all anchors.

    Args:
        anchors: [P, 4].
        usable: For each image the indices of the anchors that may be used, or None for all.
        samples: The images' ``gt_instances`` and, where there, ``ignored_instances``.
        assigner: With ``assign``, such as `MaxIoUAssigner`.
        sampler: With ``select`` and ``avg_factor_with_neg``, such as `PseudoSampler`.
        num_classes: Label of the background.
        pos_weight: Label weight of positives; 0 or less: 1.
        level_counts: Anchors of each level, for an assigner that picks level by level (`ATSSAssigner`).

    Returns:
        The targets.
    """
    gt_inds = torch.stack(
        [
            _assign(anchors, index, sample, assigner, sampler, level_counts)
            for index, sample in zip(usable, samples, strict=True)
        ]
    )
    return gather_targets(gt_inds, samples, anchors.dtype, num_classes, pos_weight, sampler.avg_factor_with_neg)


def gather_targets(
    gt_inds: Tensor,
    samples: Sequence[BaseDataElement],
    dtype: torch.dtype,
    num_classes: int,
    pos_weight: float = -1,
    count_negatives: bool = False,
) -> AnchorTargets:
    """Return what assigned priors learn.

    Args:
        gt_inds: int64 [N, P] as in an `AssignResult`.
        samples: The images' ``gt_instances``.
        dtype: Of boxes and weights.
        num_classes: Label of the background.
        pos_weight: Label weight of positives; 0 or less: 1.
        count_negatives: ``avg_factor`` counts all priors that are not ignored, not the positives alone.

    Returns:
        The targets.
    """
    boxes, labels = pad_instances(samples, dtype)
    positive = gt_inds > 0
    matched = (gt_inds - 1).clamp(min=0)
    weights = (gt_inds >= 0).to(dtype)
    if pos_weight > 0:
        weights = torch.where(positive, pos_weight, weights)
    count = positive.sum(1).clamp(min=1)
    if count_negatives:
        count = count + (gt_inds == 0).sum(1).clamp(min=1)
    return AnchorTargets(
        labels=torch.where(positive, labels.gather(1, matched), num_classes),
        label_weights=weights,
        boxes=boxes.gather(1, matched[..., None].expand(-1, -1, 4)),
        positive=positive,
        avg_factor=count.sum(),
    )


def usable_anchors(
    generator: AnchorGenerator,
    sizes: Sequence[Size],
    anchors: Tensor,
    meta: dict[str, Any],
    allowed_border: float,
) -> Tensor | None:
    """Return the indices of the anchors that an image may use, or None for all.

    Args:
        generator: Knows which anchors start in the image.
        sizes: (h, w) of each level.
        anchors: [P, 4] of all levels.
        meta: The image's ``pad_shape`` (h, w) and, for ``allowed_border``, ``img_shape``.
        allowed_border: Pixels that an anchor may stand out of the image; negative: any number.
    """
    flags = generator.valid_flags(sizes, meta["pad_shape"], anchors.device) if "pad_shape" in meta else None
    inside = None if flags is None else torch.cat(flags)
    if allowed_border >= 0:
        height, width = meta["img_shape"][:2]
        limit = anchors.new_tensor([width, height]) + allowed_border
        within = (anchors[:, :2] >= -allowed_border).all(1) & (anchors[:, 2:] < limit).all(1)
        inside = within if inside is None else inside & within
    return None if inside is None else inside.nonzero().squeeze(1)


def _assign(
    anchors: Tensor,
    index: Tensor | None,
    sample: BaseDataElement,
    assigner: Any,
    sampler: Any,
    level_counts: Sequence[int] | None,
) -> Tensor:
    """``gt_inds`` [P] of one image after sampling; anchors that it may not use are ignored."""
    priors = InstanceData(priors=anchors if index is None else anchors[index])
    levels = []
    if level_counts is not None:
        levels = [list(level_counts) if index is None else _counts_of(index, level_counts)]
    gt_inds = sampler.select(assigner.assign(priors, *levels, *split_ignored(sample)).gt_inds)
    if index is None:
        return gt_inds
    return gt_inds.new_full((len(anchors),), -1).index_copy_(0, index, gt_inds)


def _counts_of(index: Tensor, level_counts: Sequence[int]) -> list[int]:
    """How many of the anchors ``index`` lie on each level."""
    ends = torch.tensor(level_counts, device=index.device).cumsum(0)
    return torch.bucketize(index, ends, right=True).bincount(minlength=len(level_counts)).tolist()
