"""From kMaX-DeepLab's queries to panoptic maps (MaX-DeepLab, arXiv:2012.00759, appendix; kMaX-DeepLab's constants)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from torch import Tensor, nn

from foveal.heads.segmentation.maskformer_fusion_head import INSTANCE_OFFSET, best_objects
from foveal.registry import MODELS
from foveal.structures import DataSample


@MODELS.register_module()
class KMaXFusionHead(nn.Module):
    """Post-processing without parameters; the ``panoptic_fusion_head`` of `KMaXDeepLab`.

    Args:
        num_things_classes: Classes with objects that are told apart; the first ones.
        num_stuff_classes: Classes without.
        test_cfg: ``panoptic_on`` (default True), ``instance_on`` and ``semantic_on`` (False): what is made.
            ``pixel_confidence_thr`` (0.4), the least share that a query has of its pixels. Panoptic:
            ``class_thr_thing`` (0.7) and ``class_thr_stuff`` (0.5), the least score; ``overlap_thr`` (0.8), the least
            share of a mask that better ones leave it. Instances: ``max_per_image`` (100).

    Source: ``kmax_model.py`` of bytedance/kmax-deeplab.
    """

    def __init__(
        self, num_things_classes: int = 80, num_stuff_classes: int = 53, test_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.num_things_classes = num_things_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.test_cfg = test_cfg or {}

    @torch.no_grad()
    def predict(self, scores: Tensor, masks: Tensor, data_samples: Sequence[DataSample]) -> None:
        """Add ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg`` to the samples, as ``test_cfg`` says.

        Args:
            scores: Class logits [N, Q, K + 1].
            masks: Mask logits [N, Q, H, W] at the size of the network's input.
            data_samples: N samples; results have their ``ori_shape``, where ``img_shape`` is not padding.
        """
        align = masks.shape[-1] % 2 == 1
        for score, mask, sample in zip(scores, masks, data_samples, strict=True):
            height, width = sample.get("img_shape", mask.shape[-2:])[:2]
            size = tuple(sample.get("ori_shape", (height, width))[:2])
            mask = mask[None, :, :height, :width]
            mask = F.interpolate(mask, size, mode="bilinear", align_corners=align)[0].softmax(0)
            classes = score.softmax(-1)[:, :-1]
            if self.test_cfg.get("panoptic_on", True):
                sample.pred_panoptic_seg = PixelData(sem_seg=self.panoptic(classes, mask)[None])
            if self.test_cfg.get("instance_on", False):
                limit = self.test_cfg.get("max_per_image", 100)
                sample.pred_instances = best_objects(classes, mask, self._sure(mask), self.num_things_classes, limit)
            if self.test_cfg.get("semantic_on", False):
                semantic = torch.einsum("qk,qhw->khw", classes, mask)
                sample.pred_sem_seg = PixelData(data=semantic.argmax(0, keepdim=True))

    def panoptic(self, classes: Tensor, masks: Tensor) -> Tensor:
        """Lay the queries' masks down, the surest first.

        Args:
            classes: Probabilities [Q, K].
            masks: Shares of each pixel [Q, H, W], which sum to 1.

        Returns:
            int32 [H, W]: class + number of the object * `INSTANCE_OFFSET`, objects counted from 1 and stuff from 0;
            K where there is no segment.
        """
        score, label = classes.max(1)
        sure = self._sure(masks)
        share = (masks * sure).flatten(1).sum(1) / sure.flatten(1).sum(1).clamp(min=1)
        thing = label < self.num_things_classes
        least = torch.where(thing, self.test_cfg.get("class_thr_thing", 0.7), self.test_cfg.get("class_thr_stuff", 0.5))
        order = (score * share).argsort(descending=True)
        order = order[(score > least)[order]]
        result = torch.full(masks.shape[1:], self.num_classes, dtype=torch.int32, device=masks.device)
        number = 0
        for query in order.tolist():
            left = sure[query] & (result == self.num_classes)
            if left.sum() > sure[query].sum() * self.test_cfg.get("overlap_thr", 0.8):
                number += int(thing[query])
                result[left] = (label[query] + thing[query] * number * INSTANCE_OFFSET).int()
        return result

    def _sure(self, masks: Tensor) -> Tensor:
        """Return which pixels a query has enough of, bool [Q, H, W]."""
        return masks > self.test_cfg.get("pixel_confidence_thr", 0.4)
