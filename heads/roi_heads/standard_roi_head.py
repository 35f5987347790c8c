"""The second stage of Faster and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from foveal.errors import ConfigError
from foveal.heads.roi_heads.masks import predict_masks, true_masks
from foveal.heads.roi_heads.roi_extractor import bbox2roi
from foveal.heads.roi_heads.sampling import SampledProposals, sample_proposals
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]


@MODELS.register_module()
class StandardRoIHead(BaseModule):
    """A box head and, where there is one, a mask head, once over the proposals.

    Arguments and keys (``bbox_head``, ``mask_head``) are those of mmdet 3.x.

    Args:
        bbox_roi_extractor: Config of what gives regions their features.
        bbox_head: Config of the box head.
        mask_roi_extractor: The same for masks. None: the boxes' one.
        mask_head: Config of the mask head. None: no masks.
        train_cfg: mmdet's ``rcnn``: ``assigner``, ``sampler``, ``mask_size``, ``pos_weight``. None: cannot train.
        test_cfg: mmdet's ``rcnn``: ``score_thr``, ``nms``, ``max_per_img``, ``mask_thr_binary``.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        bbox_roi_extractor: Options,
        bbox_head: Options,
        mask_roi_extractor: Options | None = None,
        mask_head: Options | None = None,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head: Any = MODELS.build(bbox_head)
        self.num_classes = self.bbox_head.num_classes
        self.mask_head: Any = None
        if mask_head is not None:
            self.mask_roi_extractor = self.bbox_roi_extractor
            if mask_roi_extractor is not None:
                self.mask_roi_extractor = MODELS.build(mask_roi_extractor)
            self.mask_head = MODELS.build(mask_head)
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
            self.sampler = TASK_UTILS.build(train_cfg["sampler"])

    def forward(self, feats: Sequence[Tensor], proposals: Sequence[InstanceData]) -> tuple[Tensor, ...]:
        """Return the raw outputs for proposals.

        Args:
            feats: One [N, C, H_l, W_l] a level.
            proposals: N images' ``bboxes`` [K_i, 4].

        Returns:
            Logits and box offsets of all proposals in turn and, with a mask head, mask logits.
        """
        rois = bbox2roi([p.bboxes for p in proposals])
        outputs = self.bbox_head(self.bbox_roi_extractor(feats, rois))
        if self.mask_head is None:
            return outputs
        return (*outputs, self.mask_head(self.mask_roi_extractor(feats, rois)))

    def loss(
        self, feats: Sequence[Tensor], proposals: Sequence[InstanceData], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            proposals: N images' ``bboxes``.
            data_samples: N samples with ``gt_instances``; with a mask head, with ``masks``.

        Returns:
            ``loss_cls``, ``acc``, ``loss_bbox`` and, with a mask head, ``loss_mask``.

        Raises:
            ConfigError: If there was no ``train_cfg``.
            DataError: If a mask head gets no masks.
        """
        if self.train_cfg is None:
            raise ConfigError("StandardRoIHead has no train_cfg: training needs its assigner and sampler")
        sampled = [
            sample_proposals(p.bboxes, sample, self.assigner, self.sampler)
            for p, sample in zip(proposals, data_samples, strict=True)
        ]
        rois = bbox2roi([s.priors for s in sampled])
        outputs = self.bbox_head(self.bbox_roi_extractor(feats, rois))
        losses = self.bbox_head.loss(*outputs, sampled, self.train_cfg.get("pos_weight", -1))
        if self.mask_head is not None:
            losses |= self._mask_loss(feats, sampled, data_samples, self.train_cfg["mask_size"])
        return losses

    def _mask_loss(
        self,
        feats: Sequence[Tensor],
        sampled: Sequence[SampledProposals],
        data_samples: Sequence[BaseDataElement],
        size: int | Sequence[int],
    ) -> dict[str, Tensor]:
        rois = bbox2roi([s.pos_priors for s in sampled])
        logits = self.mask_head(self.mask_roi_extractor(feats, rois))
        return self.mask_head.loss(logits, sampled, true_masks(data_samples), size)

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        data_samples: Sequence[BaseDataElement],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Return the detections.

        Args:
            feats: As for `forward`.
            proposals: N images' ``bboxes``.
            data_samples: N samples with the metainfo ``img_shape``, ``ori_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes and masks in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores``, ``labels`` [K] and, with a mask head, ``masks``
            bool [K, h, w]; best first.
        """
        if self.test_cfg is None:
            raise ConfigError("StandardRoIHead has no test_cfg: prediction needs score_thr, nms and max_per_img")
        counts = [len(p.bboxes) for p in proposals]
        rois = bbox2roi([p.bboxes for p in proposals])
        outputs = [x.split(counts) for x in self.bbox_head(self.bbox_roi_extractor(feats, rois))]
        results = [
            self.bbox_head.predict(*each, sample.metainfo, self.test_cfg, rescale and self.mask_head is None)
            for *each, sample in zip(rois.split(counts), *outputs, data_samples, strict=True)
        ]
        if self.mask_head is not None:
            parts = [self.mask_head], [self.mask_roi_extractor]
            predict_masks(*parts, feats, results, data_samples, self.test_cfg, rescale)
        return results
