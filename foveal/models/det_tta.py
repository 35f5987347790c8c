"""DetTTAModel: detections from several sizes and flips of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor

from foveal.errors import ConfigError
from foveal.heads.detection.post_processing import select_and_nms
from foveal.registry import MODELS
from foveal.structures import DataSample

_FLIPPED = {"horizontal": ("x",), "vertical": ("y",), "diagonal": ("x", "y")}


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """Pool the boxes that a detector finds in the views of an image, and suppress the doubles; mmdet's class.

    Masks are turned back and kept with their boxes, which mmdet's does not do.

    Args:
        tta_cfg: ``nms`` and ``max_per_img``, as in a head's ``test_cfg``.
        options: ``module`` and ``data_preprocessor`` of mmengine's ``BaseTTAModel``.

    Raises:
        ConfigError: If ``tta_cfg`` is missing.
    """

    def __init__(self, tta_cfg: dict[str, Any] | None = None, **options: Any) -> None:
        if tta_cfg is None:
            raise ConfigError("DetTTAModel needs tta_cfg with nms and max_per_img")
        super().__init__(**options)
        self.tta_cfg = tta_cfg

    def merge_preds(self, data_samples_list: Sequence[Sequence[DataSample]]) -> list[DataSample]:
        """Return one data sample an image.

        Args:
            data_samples_list: Of each image, the predictions for its views: ``pred_instances`` in pixels of the
                original image, flipped where the view is, with ``flip`` and ``flip_direction`` in the metainfo.

        Returns:
            The first view's data sample, its ``pred_instances`` now the pooled ones, best first.
        """
        merged = []
        for views in data_samples_list:
            pooled = InstanceData.cat([turned_back(view) for view in views])
            kept, scores = select_and_nms(pooled.bboxes, pooled.scores, pooled.labels, self.tta_cfg)
            sample = views[0]
            sample.pred_instances = pooled[kept]
            sample.pred_instances.scores = scores
            merged.append(sample)
        return merged


def turned_back(view: DataSample) -> InstanceData:
    """Return the predictions for a view on the unflipped image.

    Args:
        view: With ``pred_instances``: ``bboxes`` [K, 4] and, of a detector with masks, ``masks`` [K, H, W].
    """
    found = view.pred_instances.clone()
    if not view.get("flip", False):
        return found
    axes = _FLIPPED[view.flip_direction]
    found.bboxes = _flipped_boxes(found.bboxes, view.ori_shape, axes)
    if "masks" in found:
        found.masks = torch.flip(found.masks, [-1 if axis == "x" else -2 for axis in axes])
    return found


def _flipped_boxes(boxes: Tensor, shape: Sequence[int], axes: Sequence[str]) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    if "x" in axes:
        x1, x2 = shape[1] - x2, shape[1] - x1
    if "y" in axes:
        y1, y2 = shape[0] - y2, shape[0] - y1
    return torch.stack([x1, y1, x2, y2], -1)
