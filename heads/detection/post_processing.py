"""From scored boxes at every point to the few detections of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

from foveal.errors import ConfigError
from foveal.ops.dispatch import in_graph
from foveal.registry import unknown_arguments

Options = dict[str, Any]

# Of a graph for a file: TensorRT sorts no more. Suppression goes from the best score down, so what is left out could
# only matter where fewer than ``max_per_img`` of so many stay.
MOST_SORTED = 3839


def filter_scores_and_topk(scores: Tensor, score_thr: float, topk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pick the best pairs of a point and a class.

    Args:
        scores: [P, C] in [0, 1].
        score_thr: Only scores above this.
        topk: At most this many; 0 or less: all.

    Returns:
        Scores [K] in falling order, classes [K] and points [K]. In a graph for a file K does not depend on the scores:
        those that are too low are 0.
    """
    if in_graph():
        return _fixed_topk(scores, score_thr, topk)
    passed = scores > score_thr
    points, labels = passed.nonzero(as_tuple=True)
    best = scores[passed]
    count = min(topk, len(best)) if topk > 0 else len(best)
    best, order = best.topk(count)
    return best, labels[order], points[order]


def _fixed_topk(scores: Tensor, score_thr: float, topk: int) -> tuple[Tensor, Tensor, Tensor]:
    """`filter_scores_and_topk` with a fixed number of results."""
    points, classes = scores.shape
    topk = min(topk, MOST_SORTED) if topk > 0 else MOST_SORTED
    rows = torch.arange(points, device=scores.device)
    if classes > 1:
        # the best pairs are pairs of the best points: far fewer numbers to sort
        rows = scores.amax(1).topk(least(topk, points)).indices
        scores = scores[rows]
    best, order = scores.flatten().topk(least(topk, points * classes))
    return torch.where(best > score_thr, best, 0), order % classes, rows[order // classes]


def least(a: int, b: int) -> Any:
    """Return the smaller number; in a graph for a file one may be a symbol, of which nothing is to be assumed."""
    return torch.sym_min(a, b)


def select_and_nms(boxes: Tensor, scores: Tensor, labels: Tensor, cfg: Options) -> tuple[Tensor, Tensor]:
    """Return which boxes stay after the size limit, non-maximum suppression and the limit on their number.

    Args:
        boxes: [K, 4] x1, y1, x2, y2.
        scores: [K].
        labels: int64 [K]; boxes of different classes do not suppress each other.
        cfg: mmdet's ``test_cfg``: ``min_bbox_size`` (width and height are larger than it; negative or missing: any),
            ``nms`` (``type='nms'`` with ``iou_threshold``, or ``'soft_nms'`` with the arguments of `soft_nms`; both
            with ``class_agnostic``; missing: no suppression) and ``max_per_img`` (missing or negative: all).

    Returns:
        int64 indices, best score first, and their scores, which soft suppression lowers. In a graph for a file there
        are always ``max_per_img``, the last with the score 0 where fewer stay.

    Raises:
        ConfigError: If ``nms`` names another type.
    """
    if in_graph():
        return _fixed_nms(boxes, scores, labels, cfg)
    size = cfg.get("min_bbox_size", -1)
    candidates = None
    if size >= 0:
        candidates = ((boxes[:, 2] - boxes[:, 0] > size) & (boxes[:, 3] - boxes[:, 1] > size)).nonzero().squeeze(1)
        boxes, scores, labels = boxes[candidates], scores[candidates], labels[candidates]
    kept, scores = _suppress(boxes, scores, labels, cfg.get("nms"))
    limit = cfg.get("max_per_img", -1)
    if limit >= 0:
        kept, scores = kept[:limit], scores[:limit]
    return kept if candidates is None else candidates[kept], scores


def _fixed_nms(boxes: Tensor, scores: Tensor, labels: Tensor, cfg: Options) -> tuple[Tensor, Tensor]:
    """`select_and_nms` with a fixed number of results; boxes with the score 0 are none."""
    size = cfg.get("min_bbox_size", -1)
    if size >= 0:
        scores = torch.where(((boxes[:, 2:] - boxes[:, :2]) > size).all(1), scores, 0)
    options = cfg.get("nms")
    if options is not None:
        if options.get("type", "nms") != "nms":
            raise ConfigError(f"a graph for a file holds test_cfg.nms.type 'nms' only, got {options['type']!r}")
        if not options.get("class_agnostic"):
            # boxes of different classes are moved apart, so that one call serves; to both sides, since large numbers
            # are less precise
            span = boxes.max() - boxes.min() + 1
            boxes = boxes + span * torch.stack((labels % 16, labels // 16), 1).repeat(1, 2)
        kept = nms(boxes, scores, options["iou_threshold"])
        scores = torch.zeros_like(scores).index_put((kept,), scores[kept])
    limit = cfg.get("max_per_img", -1)
    best, order = scores.topk(least(limit if limit >= 0 else MOST_SORTED, len(scores)))
    return order, best


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor, cfg: Options | None) -> tuple[Tensor, Tensor]:
    """Indices of the boxes that no better box of their class suppresses, best first, and their scores."""
    if cfg is None:
        kept = scores.argsort(descending=True)
        return kept, scores[kept]
    options = dict(cfg)
    kind = options.pop("type", "nms")
    if kind not in ("nms", "soft_nms"):
        raise ConfigError(f"test_cfg.nms.type must be 'nms' or 'soft_nms', got {kind!r}")
    if options.pop("class_agnostic", False):
        labels = torch.zeros_like(labels)
    if kind == "soft_nms":
        problem = unknown_arguments(soft_nms, options)
        if problem:
            raise ConfigError(f"test_cfg.nms: {problem}")
        return soft_nms(boxes, scores, labels, **options)
    kept = batched_nms(boxes, scores, labels, cfg["iou_threshold"])
    return kept, scores[kept]


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = "linear",
) -> tuple[Tensor, Tensor]:
    """Lower the scores of boxes that better ones overlap, in place of removing them (Bodla et al., arXiv:1704.04503).

    Arguments and defaults are those of mmcv's operator of this name, which also works on the CPU.

    Args:
        boxes: [K, 4] x1, y1, x2, y2.
        scores: [K].
        labels: int64 [K]; boxes of different classes do not lower each other's scores.
        iou_threshold: From this overlap on, ``linear`` multiplies by 1 - overlap and ``naive`` by 0.
        sigma: ``gaussian`` multiplies by exp(-overlap² / sigma), at every overlap.
        min_score: Boxes that fall below it are removed.
        method: ``linear``, ``gaussian`` or ``naive``.

    Returns:
        int64 indices of the boxes that stay and their new scores, best first.

    Raises:
        ConfigError: If ``method`` is another word.
    """
    if method not in ("linear", "gaussian", "naive"):
        raise ConfigError(f"test_cfg.nms.method must be 'linear', 'gaussian' or 'naive', got {method!r}")
    # one box depends on the one before: on a GPU, every step would wait for it
    corners, current, classes = boxes.cpu(), scores.cpu(), labels.cpu()
    left = torch.arange(len(current))
    kept, final = [], []
    while len(left):
        best = current.argmax()
        chosen = left[best]
        kept.append(chosen)
        final.append(current[best])
        overlap = box_iou(corners[chosen][None], corners[left])[0]
        if method == "gaussian":
            factor = (-overlap.square() / sigma).exp()
        else:
            factor = torch.where(overlap >= iou_threshold, 1 - overlap if method == "linear" else 0.0, 1.0)
        current = torch.where(classes[left] == classes[chosen], current * factor, current)
        stay = current >= min_score
        stay[best] = False
        left, current = left[stay], current[stay]
    if not kept:
        return labels.new_zeros(0), scores.new_zeros(0)
    return torch.stack(kept).to(boxes.device), torch.stack(final).to(scores.device)


@torch.no_grad()
def detections(
    scores: Sequence[Tensor],
    codes: Sequence[Tensor],
    priors: Sequence[Tensor],
    decode: Callable[..., Tensor],
    metas: Sequence[Options],
    cfg: Options | None,
    rescale: bool,
    factors: Sequence[Tensor] | None = None,
    extras: Mapping[str, Sequence[Tensor]] | None = None,
) -> list[InstanceData]:
    """Return the detections of a batch from the outputs of all levels.

    Args:
        scores: One [N, P_l, C] a level, probabilities.
        codes: One [N, P_l, 4] a level, what ``decode`` takes.
        priors: One [P_l, D] a level.
        decode: ``decode(priors, codes, max_shape=(h, w))`` gives boxes [K, 4] in pixels.
        metas: The images' ``img_shape`` (h, w) and ``scale_factor`` (w, h).
        cfg: mmdet's ``test_cfg``: ``score_thr``, ``nms_pre`` (best pairs of a level) and what `select_and_nms` takes.
        rescale: Give boxes in pixels of the original image.
        factors: One [N, P_l] a level, multiplied to the scores after the level's best were picked (centerness).
        extras: More fields of the points, by name, one [N, P_l, …] a level each.

    Returns:
        One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K], best first, and ``extras``.

    Raises:
        ConfigError: If there is no ``cfg``.
    """
    if cfg is None:
        raise ConfigError("the model has no test_cfg: prediction needs score_thr, nms and max_per_img")
    results = []
    for i, meta in enumerate(metas):
        picked = [filter_scores_and_topk(level[i], cfg.get("score_thr", 0), cfg.get("nms_pre", -1)) for level in scores]
        best, labels = (torch.cat([level[k] for level in picked]) for k in (0, 1))
        points = [level[2] for level in picked]
        chosen = torch.cat([level[i][p] for level, p in zip(codes, points, strict=True)])
        anchors = torch.cat([level[p] for level, p in zip(priors, points, strict=True)])
        boxes = decode(anchors, chosen, max_shape=meta["img_shape"])
        if rescale:
            boxes = to_original(boxes, meta)
        if factors is not None:
            best = best * torch.cat([level[i][p] for level, p in zip(factors, points, strict=True)])
        kept, best = select_and_nms(boxes, best, labels, cfg)
        found = InstanceData(bboxes=boxes[kept], scores=best, labels=labels[kept])
        for name, levels in (extras or {}).items():
            found[name] = torch.cat([level[i][p] for level, p in zip(levels, points, strict=True)])[kept]
        results.append(found)
    return results


def to_original(boxes: Tensor, meta: Options) -> Tensor:
    """Return boxes [..., 4] of the resized image in pixels of the original; unchanged without ``scale_factor``."""
    scale_w, scale_h = meta.get("scale_factor", (1.0, 1.0))
    return boxes * boxes.new_tensor([1 / scale_w, 1 / scale_h, 1 / scale_w, 1 / scale_h])
