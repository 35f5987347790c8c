"""Panoptic quality (Kirillov et al., CVPR 2019, arXiv:1801.00868), by the algorithm of cocodataset/panopticapi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

VOID = 0
"""The id of pixels that belong to no segment."""


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map.

    Args:
        category: Class number, 0 to C - 1.
        crowd: A group of things that are not told apart; it is nobody's match, and forgives predictions inside.
    """

    category: int
    crowd: bool = False


def panoptic_counts(
    gt: np.ndarray,
    pred: np.ndarray,
    gt_segments: Mapping[int, Segment],
    pred_segments: Mapping[int, Segment],
    num_classes: int,
) -> np.ndarray:
    """Match the segments of one image.

    Two segments match where they have one class and an IoU above 0.5; void pixels of the truth do not count in it. An
    unmatched prediction is forgiven where more than half of it is void or crowd of its class.

    Args:
        gt: Ids of segments, integer [H, W]; `VOID` and ids that are not in ``gt_segments`` are void.
        pred: The same of the prediction.
        gt_segments: By id.
        pred_segments: By id.
        num_classes: C.

    Returns:
        Float64 [4, C]: sum of the matches' IoUs, matches, unmatched predictions, missed segments.
    """
    gt_ids, gt_index = np.unique(gt, return_inverse=True)
    pred_ids, pred_index = np.unique(pred, return_inverse=True)
    pairs = gt_index.ravel() * len(pred_ids) + pred_index.ravel()
    common = np.bincount(pairs, minlength=len(gt_ids) * len(pred_ids)).reshape(len(gt_ids), len(pred_ids))
    gt_area, pred_area = common.sum(1), common.sum(0)
    known = np.array([id_ in gt_segments for id_ in gt_ids], bool)
    void = common[~known].sum(0)

    counts = np.zeros((4, num_classes))
    matched_gt, matched_pred = set(), set()
    for i, j in np.argwhere(common):
        true, guess = gt_segments.get(gt_ids[i]), pred_segments.get(pred_ids[j])
        if true is None or guess is None or true.crowd or true.category != guess.category:
            continue
        iou = common[i, j] / (gt_area[i] + pred_area[j] - common[i, j] - void[j])
        if iou > 0.5:
            counts[:2, true.category] += iou, 1
            matched_gt.add(i)
            matched_pred.add(j)
    for j, id_ in enumerate(pred_ids):
        if id_ not in pred_segments or j in matched_pred:
            continue
        category = pred_segments[id_].category
        forgiven = void[j] + sum(
            common[i, j]
            for i, gt_id in enumerate(gt_ids)
            if known[i] and gt_segments[gt_id].crowd and gt_segments[gt_id].category == category
        )
        counts[2, category] += forgiven / pred_area[j] <= 0.5
    for i, id_ in enumerate(gt_ids):
        if known[i] and i not in matched_gt and not gt_segments[id_].crowd:
            counts[3, gt_segments[id_].category] += 1
    return counts


def panoptic_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return PQ, SQ and RQ of every class, float64 [C] in [0, 1], NaN for a class that does not occur.

    Args:
        counts: [4, C] of a whole data set, see `panoptic_counts`.
    """
    iou, matches, wrong, missed = counts
    total = matches + (wrong + missed) / 2
    occurs = total > 0
    whole = np.where(occurs, total, 1)
    sq = iou / np.maximum(matches, 1)
    return tuple(np.where(occurs, value, np.nan) for value in (iou / whole, sq, matches / whole))  # type: ignore[return-value]
