"""The second stage of Cascade R-CNN (Cai and Vasconcelos, CVPR 2018, arXiv:1712.00726)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.roi_heads.masks import predict_masks, true_masks
from foveal.heads.roi_heads.roi_extractor import bbox2roi
from foveal.heads.roi_heads.sampling import SampledProposals, sample_proposals
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]


@MODELS.register_module()
class CascadeRoIHead(BaseModule):
    """Box heads in a row, each trained on the boxes of the one before and at a higher overlap.

    Arguments and keys (``bbox_head.i``, ``mask_head.i``) are those of mmdet 3.x.

    Args:
        num_stages: S.
        stage_loss_weights: Factor of each stage's losses.
        bbox_roi_extractor: Config of what gives regions their features, or one a stage.
        bbox_head: Config of the box heads, or one a stage.
        mask_roi_extractor: The same for masks. None: the boxes' ones.
        mask_head: Config of the mask heads, or one a stage. None: no masks.
        train_cfg: mmdet's ``rcnn``, one a stage. None: cannot train.
        test_cfg: mmdet's ``rcnn``.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: Options | Sequence[Options],
        bbox_head: Options | Sequence[Options],
        mask_roi_extractor: Options | Sequence[Options] | None = None,
        mask_head: Options | Sequence[Options] | None = None,
        train_cfg: Sequence[Options] | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_stages = num_stages
        self.stage_loss_weights = stage_loss_weights
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.bbox_roi_extractor = self._stages("bbox_roi_extractor", bbox_roi_extractor)
        self.bbox_head: Any = self._stages("bbox_head", bbox_head)
        self.num_classes = self.bbox_head[0].num_classes
        self.mask_head: Any = None
        if mask_head is not None:
            self.mask_head = self._stages("mask_head", mask_head)
            self.mask_roi_extractor = self.bbox_roi_extractor
            if mask_roi_extractor is not None:
                self.mask_roi_extractor = self._stages("mask_roi_extractor", mask_roi_extractor)
        if train_cfg is not None:
            self.assigners = [TASK_UTILS.build(cfg["assigner"]) for cfg in train_cfg]
            self.samplers = [TASK_UTILS.build(cfg["sampler"]) for cfg in train_cfg]

    def _stages(self, name: str, configs: Options | Sequence[Options]) -> nn.ModuleList:
        """One module a stage."""
        given = [configs] * self.num_stages if isinstance(configs, dict) else list(configs)
        if len(given) != self.num_stages:
            raise ConfigError(f"CascadeRoIHead.{name} must be one config, or {self.num_stages}; got {len(given)}")
        return nn.ModuleList(MODELS.build(cfg) for cfg in given)

    def forward(self, feats: Sequence[Tensor], proposals: Sequence[InstanceData]) -> tuple[tuple[Tensor, ...], ...]:
        """Return every stage's raw outputs for the same proposals.

        Args:
            feats: One [N, C, H_l, W_l] a level.
            proposals: N images' ``bboxes`` [K_i, 4].

        Returns:
            A tuple a stage: logits, box offsets and, with mask heads, mask logits.
        """
        rois = bbox2roi([p.bboxes for p in proposals])
        outputs = []
        for stage in range(self.num_stages):
            out = self.bbox_head[stage](self.bbox_roi_extractor[stage](feats, rois))
            if self.mask_head is not None:
                out = (*out, self.mask_head[stage](self.mask_roi_extractor[stage](feats, rois)))
            outputs.append(out)
        return tuple(outputs)

    def loss(
        self, feats: Sequence[Tensor], proposals: Sequence[InstanceData], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            proposals: N images' ``bboxes``.
            data_samples: N samples with ``gt_instances``; with mask heads, with ``masks``.

        Returns:
            ``s0.loss_cls``, ``s0.acc``, ``s0.loss_bbox``, with mask heads ``s0.loss_mask``, and so for every stage.

        Raises:
            ConfigError: If there was no ``train_cfg``.
            DataError: If mask heads get no masks.
        """
        if self.train_cfg is None:
            raise ConfigError("CascadeRoIHead has no train_cfg: training needs every stage's assigner and sampler")
        boxes = [p.bboxes for p in proposals]
        losses: dict[str, Tensor] = {}
        for stage, cfg in enumerate(self.train_cfg):
            assigner, sampler = self.assigners[stage], self.samplers[stage]
            sampled = [
                sample_proposals(each, sample, assigner, sampler)
                for each, sample in zip(boxes, data_samples, strict=True)
            ]
            rois = bbox2roi([s.priors for s in sampled])
            head = self.bbox_head[stage]
            scores, codes = head(self.bbox_roi_extractor[stage](feats, rois))
            found = head.loss(scores, codes, sampled, cfg.get("pos_weight", -1))
            if self.mask_head is not None:
                regions = bbox2roi([s.pos_priors for s in sampled])
                logits = self.mask_head[stage](self.mask_roi_extractor[stage](feats, regions))
                found |= self.mask_head[stage].loss(logits, sampled, true_masks(data_samples), cfg["mask_size"])
            weight = self.stage_loss_weights[stage]
            losses |= {f"s{stage}.{k}": v * weight if "loss" in k else v for k, v in found.items()}
            if stage < self.num_stages - 1:
                boxes = self._refined(head, rois, scores, codes, sampled, data_samples)
        return losses

    @torch.no_grad()
    def _refined(
        self,
        head: Any,
        rois: Tensor,
        scores: Tensor,
        codes: Tensor,
        sampled: Sequence[SampledProposals],
        data_samples: Sequence[BaseDataElement],
    ) -> list[Tensor]:
        """The next stage's proposals: this one's boxes, without those that grew from the true boxes themselves."""
        counts = [len(s.priors) for s in sampled]
        boxes = []
        for roi, score, code, s, sample in zip(
            rois.split(counts), scores.split(counts), codes.split(counts), sampled, data_samples, strict=True
        ):
            labels = s.gt_labels.new_full((len(roi),), head.num_classes)
            labels[: s.positives] = s.gt_labels
            kept = torch.ones_like(labels, dtype=torch.bool)
            kept[: s.positives] = ~s.is_gt
            boxes.append(head.refine(roi, score, code, sample.metainfo, labels)[kept])
        return boxes

    def refining_pass(
        self, feats: Sequence[Tensor], proposals: Sequence[Tensor], data_samples: Sequence[BaseDataElement]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the stages one after the other.

        Args:
            feats: As for `forward`.
            proposals: N images' [K_i, 4].
            data_samples: N samples with ``img_shape``.

        Returns:
            The regions [K, 5] that the last stage looked at, the mean of all stages' logits, the last one's offsets.
        """
        counts = [len(p) for p in proposals]
        rois = bbox2roi(proposals)
        total: Any = 0
        for stage in range(self.num_stages):
            head = self.bbox_head[stage]
            scores, codes = head(self.bbox_roi_extractor[stage](feats, rois))
            total = total + scores
            if stage == self.num_stages - 1:
                break
            pieces = zip(rois.split(counts), scores.split(counts), codes.split(counts), data_samples, strict=True)
            rois = bbox2roi([head.refine(r, s, c, sample.metainfo, s[:, :-1].argmax(1)) for r, s, c, sample in pieces])
        return rois, total / self.num_stages, codes

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        data_samples: Sequence[BaseDataElement],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Return the detections, as `StandardRoIHead.predict` does.

        Args:
            feats: As for `forward`.
            proposals: N images' ``bboxes``.
            data_samples: N samples with the metainfo ``img_shape``, ``ori_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes and masks in pixels of the original image, not of the network's input.
        """
        if self.test_cfg is None:
            raise ConfigError("CascadeRoIHead has no test_cfg: prediction needs score_thr, nms and max_per_img")
        counts = [len(p.bboxes) for p in proposals]
        outputs = self.refining_pass(feats, [p.bboxes for p in proposals], data_samples)
        results = [
            self.bbox_head[-1].predict(*each, sample.metainfo, self.test_cfg, rescale and self.mask_head is None)
            for *each, sample in zip(*(x.split(counts) for x in outputs), data_samples, strict=True)
        ]
        if self.mask_head is not None:
            heads, extractors = list(self.mask_head), list(self.mask_roi_extractor)
            predict_masks(heads, extractors, feats, results, data_samples, self.test_cfg, rescale)
        return results
