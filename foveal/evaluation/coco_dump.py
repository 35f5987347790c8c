"""Detections in COCO's result format, for evaluation servers and for ``--out``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_utils
from torch import Tensor


def detections_to_json(samples: Iterable[dict[str, Any]], cat_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the predicted instances of samples as COCO results.

    Args:
        samples: Data samples as dicts (``DataSample.to_dict()``) with ``img_id`` and ``pred_instances``: ``bboxes``
            [N, 4] (x1, y1, x2, y2 in pixels of the original image), ``scores`` [N], ``labels`` [N] and, where
            predicted, ``masks`` [N, H, W], which may be a list of RLE dicts.
        cat_ids: The annotation file's category id of each label.

    Returns:
        One dict per instance: ``image_id``, ``category_id``, ``score``, ``bbox`` (x, y, w, h) and, where masks are
        there, ``segmentation``, a compressed RLE with text counts. Plain Python types only.
    """
    detections = []
    for sample in samples:
        instances = sample["pred_instances"]
        boxes = instances["bboxes"].detach().float().cpu().numpy().astype(np.float64).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]
        scores = instances["scores"].detach().float().cpu().tolist()
        labels = instances["labels"].cpu().tolist()
        masks = encode_masks(instances["masks"]) if "masks" in instances else None
        for index, (box, score, label) in enumerate(zip(boxes.tolist(), scores, labels, strict=True)):
            detection = {"image_id": sample["img_id"], "category_id": cat_ids[label], "bbox": box, "score": score}
            if masks is not None:
                detection["segmentation"] = masks[index]
            detections.append(detection)
    return detections


def encode_masks(masks: Tensor | np.ndarray | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return compressed RLEs with text counts.

    Args:
        masks: Bool or uint8 [N, H, W], or RLE dicts, whose counts may be bytes.

    Returns:
        N dicts with ``size`` [H, W] and ``counts``.
    """
    if isinstance(masks, torch.Tensor):
        masks = masks.detach().cpu().numpy()
    if isinstance(masks, np.ndarray):
        # one at a time: COCO's column order would need a second copy of all N masks
        masks = [mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
    return [{"size": list(rle["size"]), "counts": _as_text(rle["counts"])} for rle in masks]


def _as_text(counts: bytes | str) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
