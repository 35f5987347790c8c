"""From queries' masks and classes to objects and panoptic maps (MaskFormer, Cheng et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import resize
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]

# a value of a panoptic map is class + number of the object * this; the metric reads it so, too
INSTANCE_OFFSET = 1000


@MODELS.register_module()
class MaskFormerFusionHead(nn.Module):
    """Post-processing with mmdet's arguments; it has no parameters.

    Args:
        num_things_classes: Classes with objects that are told apart; the first ones.
        num_stuff_classes: Classes without.
        test_cfg: ``panoptic_on`` (default True), ``instance_on`` and ``semantic_on`` (False): what is made. Panoptic:
            ``object_mask_thr`` (0.8), the least score; ``iou_thr`` (0.8), the least share of a mask that others leave
            it; ``filter_low_score`` (False), pixels below probability 0.5 are dropped. Instances: ``max_per_image``
            (100).
        loss_panoptic: None; taken for mmdet's configs.
        init_cfg: None, likewise.

    Source: ``maskformer_fusion_head.py`` of open-mmlab/mmdetection.
    """

    def __init__(
        self,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        test_cfg: Options | None = None,
        loss_panoptic: None = None,
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        if loss_panoptic is not None:
            raise ConfigError("MaskFormerFusionHead has no loss: loss_panoptic must be None")
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
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
        for score, mask, sample in zip(scores, masks, data_samples, strict=True):
            height, width = sample.get("img_shape", mask.shape[-2:])[:2]
            size = sample.get("ori_shape", (height, width))[:2]
            mask = resize(mask[None, :, :height, :width], size)[0]
            if self.test_cfg.get("panoptic_on", True):
                sample.pred_panoptic_seg = PixelData(sem_seg=self.panoptic(score, mask)[None])
            if self.test_cfg.get("instance_on", False):
                sample.pred_instances = self.instances(score, mask)
            if self.test_cfg.get("semantic_on", False):
                classes = torch.einsum("qk,qhw->khw", score.softmax(-1)[:, :-1], mask.sigmoid())
                sample.pred_sem_seg = PixelData(data=classes.argmax(0, keepdim=True))

    def panoptic(self, scores: Tensor, masks: Tensor) -> Tensor:
        """Give each pixel to the query that is surest of it.

        Args:
            scores: Class logits [Q, K + 1].
            masks: Mask logits [Q, H, W].

        Returns:
            int32 [H, W]: class + number of the object * `INSTANCE_OFFSET`, objects counted from 1 and stuff from 0;
            K where there is no segment.
        """
        probability, labels = scores.softmax(-1).max(-1)
        kept = (labels != self.num_classes) & (probability > self.test_cfg.get("object_mask_thr", 0.8))
        masks, labels = masks[kept].sigmoid(), labels[kept]
        result = torch.full(masks.shape[-2:], self.num_classes, dtype=torch.int32, device=masks.device)
        if not len(masks):
            return result
        owner = (probability[kept, None, None] * masks).argmax(0)
        owned = owner == torch.arange(len(masks), device=masks.device)[:, None, None]
        sure = masks >= 0.5
        areas, whole = owned.flatten(1).sum(1), sure.flatten(1).sum(1)
        seen = (areas > 0) & (whole > 0) & (areas / whole >= self.test_cfg.get("iou_thr", 0.8))
        if self.test_cfg.get("filter_low_score", False):
            owned = owned & sure
        thing = labels < self.num_things_classes
        numbers = (seen & thing).cumsum(0) * thing
        values = (labels + numbers * INSTANCE_OFFSET).int()
        # each pixel has one owner, so the segments do not overlap
        shown = owned & seen[:, None, None]
        return torch.where(shown.any(0), values[owner], result)

    def instances(self, scores: Tensor, masks: Tensor) -> InstanceData:
        """Return the best pairs of a query and a class of things.

        Args:
            scores: Class logits [Q, K + 1].
            masks: Mask logits [Q, H, W].

        Returns:
            ``scores`` [I], the class's probability times the mask's mean one; ``labels``, ``masks`` bool [I, H, W] and
            ``bboxes`` [I, 4] around them; best first. I is at most ``max_per_image``: pairs of stuff use it up, too.
        """
        classes, inside = scores.softmax(-1)[:, :-1], masks > 0
        limit = self.test_cfg.get("max_per_image", 100)
        return best_objects(classes, masks.sigmoid(), inside, self.num_things_classes, limit)


def best_objects(classes: Tensor, weights: Tensor, inside: Tensor, num_things: int, limit: int) -> InstanceData:
    """Return the best pairs of a query and a class of things.

    Args:
        classes: Probabilities [Q, K].
        weights: How sure a query is of each pixel, [Q, H, W].
        inside: Its mask, bool [Q, H, W].
        num_things: Classes of things; the first ones.
        limit: Pairs that are looked at, those of stuff among them.

    Returns:
        ``scores`` [I], the class's probability times the mask's mean weight; ``labels``, ``masks`` bool [I, H, W] and
        ``bboxes`` [I, 4] around them; best first, at most ``limit``.
    """
    best, index = classes.flatten().topk(min(limit, classes.numel()))
    labels = index % classes.shape[1]
    thing = labels < num_things
    best, labels, query = best[thing], labels[thing], (index // classes.shape[1])[thing]
    area = inside.flatten(1).sum(1).to(weights.dtype)
    sureness = (weights * inside).flatten(1).sum(1) / (area + 1e-6)
    shape = inside[query]
    result = InstanceData(bboxes=boxes_around(shape).to(weights.dtype), labels=labels, scores=best * sureness[query])
    result.masks = shape
    return result[result.scores.argsort(descending=True, stable=True)]


def boxes_around(masks: Tensor) -> Tensor:
    """Return the smallest boxes around masks, x1, y1, x2, y2 float32 [N, 4]; zeros around an empty one.

    Args:
        masks: Bool [N, H, W].
    """
    sides = []
    for covered in (masks.any(1), masks.any(2)):
        length = covered.shape[1]
        first = covered.int().argmax(1)
        last = length - covered.flip(1).int().argmax(1)
        some = covered.any(1)
        sides.append((first * some, last * some))
    (x1, x2), (y1, y2) = sides
    return torch.stack((x1, y1, x2, y2), dim=1).float()
