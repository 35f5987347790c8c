"""What the second stages share that have mask heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from foveal.errors import DataError
from foveal.heads.detection.post_processing import to_original
from foveal.heads.roi_heads.roi_extractor import bbox2roi


def true_masks(data_samples: Sequence[BaseDataElement]) -> list[Tensor]:
    """Return the images' masks [G_i, H, W].

    Raises:
        DataError: If a sample has none; names its image.
    """
    for sample in data_samples:
        if "masks" not in sample.gt_instances:
            image = sample.get("img_path") or f"img_id {sample.get('img_id')}"
            raise DataError(f"{image} has no masks, and the mask head needs them: LoadAnnotations(with_mask=True)")
    return [sample.gt_instances.masks for sample in data_samples]


@torch.no_grad()
def predict_masks(
    heads: Sequence[Any],
    extractors: Sequence[Any],
    feats: Sequence[Tensor],
    results: Sequence[InstanceData],
    data_samples: Sequence[BaseDataElement],
    cfg: dict[str, Any],
    rescale: bool,
) -> None:
    """Add ``masks`` to detections, and scale their boxes.

    Args:
        heads: Mask heads, whose probabilities are averaged.
        extractors: What gives each its features.
        feats: One [N, C, H_l, W_l] a level.
        results: N images' ``bboxes``, in pixels of the network's input, and ``labels``.
        data_samples: N samples with ``img_shape``, ``ori_shape`` and ``scale_factor``.
        cfg: With ``mask_thr_binary``.
        rescale: Boxes and masks in pixels of the original image.
    """
    rois = bbox2roi([result.bboxes for result in results])
    pairs = zip(heads, extractors, strict=True)
    mean: Any = sum(head(extractor(feats, rois)).sigmoid() for head, extractor in pairs) / len(heads)
    pieces = mean.split([len(result) for result in results])
    for probabilities, result, sample in zip(pieces, results, data_samples, strict=True):
        if rescale:
            result.bboxes = to_original(result.bboxes, sample.metainfo)
        size = sample.ori_shape if rescale else sample.img_shape
        result.masks = heads[-1].predict(probabilities, result.bboxes, result.labels, size, cfg["mask_thr_binary"])
