"""The stages of Sparse R-CNN (arXiv:2011.12450): a fixed set of proposals, refined again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torchvision.ops import box_convert

from foveal.errors import ConfigError
from foveal.heads.detection.dense import mean_over_ranks, precise
from foveal.heads.detection.post_processing import to_original
from foveal.heads.roi_heads.roi_extractor import bbox2roi
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]
Stage = tuple[Tensor, Tensor, Tensor]


@MODELS.register_module()
class EmbeddingRPNHead(BaseModule):
    """Learnt proposals, the same for every image; mmdet's head of this name.

    Args:
        num_proposals: Q.
        proposal_feature_channel: Channels of a proposal's features.
        init_cfg: mmengine's initialisation config.
        train_cfg: Not used: detectors give it.
        test_cfg: Not used: detectors give it.
        in_channels: Not used: detectors give it.
        num_classes: Not used: detectors give it.
    """

    def __init__(
        self,
        num_proposals: int = 100,
        proposal_feature_channel: int = 256,
        init_cfg: Options | list[Options] | None = None,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        in_channels: int | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.init_proposal_bboxes = nn.Embedding(num_proposals, 4)
        self.init_proposal_features = nn.Embedding(num_proposals, proposal_feature_channel)

    def init_weights(self) -> None:
        """Begin with proposals that are the whole image."""
        super().init_weights()
        nn.init.constant_(self.init_proposal_bboxes.weight[:, :2], 0.5)
        nn.init.constant_(self.init_proposal_bboxes.weight[:, 2:], 1)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the boxes [Q, 4] as centre and size, shares of the image, and the features [Q, channels]."""
        return self.init_proposal_bboxes.weight, self.init_proposal_features.weight

    def predict(self, feats: Sequence[Tensor], data_samples: Sequence[BaseDataElement]) -> list[InstanceData]:
        """Return each image's ``bboxes`` [Q, 4] in pixels and ``features`` [Q, channels].

        Args:
            feats: Not used.
            data_samples: N samples with ``img_shape`` (h, w).
        """
        shares = box_convert(self.init_proposal_bboxes.weight, "cxcywh", "xyxy")
        features = self.init_proposal_features.weight
        sizes = sizes_of(data_samples, shares)
        return [InstanceData(bboxes=shares * size, features=features) for size in sizes]

    def loss_and_predict(
        self, feats: Sequence[Tensor], data_samples: Sequence[BaseDataElement], proposal_cfg: Options | None
    ) -> tuple[dict[str, list[Tensor]], list[InstanceData]]:
        """Return no losses, and the proposals."""
        return {}, self.predict(feats, data_samples)


@MODELS.register_module()
class SparseRoIHead(BaseModule):
    """Heads in a row; each sees the proposals' regions and features of the one before. Keys ``bbox_head.i``.

    Args:
        num_stages: S.
        stage_loss_weights: Factor of each stage's losses.
        proposal_feature_channel: Not used; mmdet's signature.
        bbox_roi_extractor: Config of what gives regions their features.
        bbox_head: Config of the heads, such as `DIIHead`, or one a stage.
        train_cfg: mmdet's ``rcnn``, one a stage: ``assigner``. None: cannot train.
        test_cfg: mmdet's ``rcnn``: ``max_per_img``.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: Options,
        bbox_head: Options | Sequence[Options],
        proposal_feature_channel: int = 256,
        train_cfg: Sequence[Options] | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        heads = [bbox_head] * num_stages if isinstance(bbox_head, dict) else list(bbox_head)
        if not len(heads) == len(stage_loss_weights) == num_stages:
            raise ConfigError(f"SparseRoIHead.bbox_head and stage_loss_weights must be {num_stages}, one a stage")
        self.stage_loss_weights = stage_loss_weights
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head: Any = nn.ModuleList(MODELS.build(cfg) for cfg in heads)
        first: Any = self.bbox_head[0]
        self.num_classes: int = first.num_classes
        if train_cfg is not None:
            self.assigners = [TASK_UTILS.build(cfg["assigner"]) for cfg in train_cfg]

    def stages(
        self, feats: Sequence[Tensor], proposals: Sequence[InstanceData], data_samples: Sequence[BaseDataElement]
    ) -> list[Stage]:
        """Run all stages.

        Args:
            feats: One [N, C, H_l, W_l] a level.
            proposals: N images' ``bboxes`` [Q, 4] in pixels and ``features``.
            data_samples: N samples with ``img_shape``.

        Returns:
            Each stage's logits [N, Q, C], boxes [N, Q, 4] in pixels and features [N, Q, channels].
        """
        boxes = torch.stack([p.bboxes for p in proposals])
        features = torch.stack([p.features for p in proposals])
        outputs = []
        for head in self.bbox_head:
            rois = bbox2roi(list(boxes))
            scores, codes, features = head(self.bbox_roi_extractor(feats, rois), features)
            boxes = torch.stack(
                [
                    head.bbox_coder.decode(box, code, max_shape=sample.img_shape)
                    for box, code, sample in zip(boxes, codes, data_samples, strict=True)
                ]
            )
            outputs.append((scores, boxes, features))
            boxes = boxes.detach()
        return outputs

    def head_of(self, stage: int) -> Any:
        """Return the head that a stage runs."""
        return self.bbox_head[stage]

    def forward(self, feats: Sequence[Tensor], proposals: Sequence[InstanceData]) -> list[Stage]:
        """Return what `stages` does, for images that fill the maps of stride 4.

        Args:
            feats: One [N, C, H_l, W_l] a level.
            proposals: N images' ``bboxes`` and ``features``.
        """
        stride = self.bbox_roi_extractor.featmap_strides[0]
        shape = (feats[0].shape[2] * stride, feats[0].shape[3] * stride)
        samples = [BaseDataElement(metainfo={"img_shape": shape}) for _ in proposals]
        return self.stages(feats, proposals, samples)

    def loss(
        self, feats: Sequence[Tensor], proposals: Sequence[InstanceData], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, Tensor]:
        """Return the losses ``s0.loss_cls``, ``s0.pos_acc``, ``s0.loss_bbox``, ``s0.loss_iou``, and so for each stage.

        Args:
            feats: As for `stages`.
            proposals: As for `stages`.
            data_samples: N samples with ``gt_instances`` and ``img_shape``.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        if self.train_cfg is None:
            raise ConfigError("SparseRoIHead has no train_cfg: training needs every stage's assigner")
        truths = [sample.gt_instances for sample in data_samples]
        outputs = self.stages(feats, proposals, data_samples)
        sizes = sizes_of(data_samples, outputs[0][1])
        losses: dict[str, Tensor] = {}
        for i, (scores, boxes, _) in enumerate(outputs):
            scores, boxes = precise(scores), precise(boxes)
            problems = [
                (InstanceData(scores=s.detach(), bboxes=b.detach()), truth, sample.metainfo)
                for s, b, truth, sample in zip(scores, boxes, truths, data_samples, strict=True)
            ]
            labels = boxes.new_full(boxes.shape[:2], self.num_classes, dtype=torch.long)
            goals = torch.zeros_like(boxes)
            matches = self.assigners[i].assign(problems)
            for n, ((queries, objects), truth) in enumerate(zip(matches, truths, strict=True)):
                labels[n, queries] = truth.labels[objects]
                goals[n, queries] = truth.bboxes[objects].to(goals)
            # mmdet divides by 1e-7 where a batch has no object; at least one box is the authors' way
            count = mean_over_ranks((labels < self.num_classes).sum().to(boxes.dtype)).clamp(min=1)
            flat_sizes = sizes.unsqueeze(1).expand_as(boxes).flatten(0, 1)
            flat = (x.flatten(0, 1) for x in (scores, boxes, labels, goals))
            found = self.head_of(i).loss(*flat, flat_sizes, count)
            weight = self.stage_loss_weights[i]
            losses |= {f"s{i}.{key}": value * weight if "loss" in key else value for key, value in found.items()}
        return losses

    @torch.no_grad()
    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        data_samples: Sequence[BaseDataElement],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Return the best pairs of a proposal and a class; nothing suppresses another.

        Args:
            feats: As for `stages`.
            proposals: As for `stages`.
            data_samples: N samples with ``img_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes in pixels of the original image.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K], best first.
        """
        if self.test_cfg is None:
            raise ConfigError("SparseRoIHead has no test_cfg: prediction needs max_per_img")
        scores, boxes, _ = self.stages(feats, proposals, data_samples)[-1]
        scores, boxes = precise(scores), precise(boxes)
        sigmoid = self.bbox_head[-1].loss_cls.use_sigmoid
        scores = scores.sigmoid() if sigmoid else scores.softmax(-1)[..., :-1]
        results = []
        for score, box, sample in zip(scores, boxes, data_samples, strict=True):
            best, index = score.flatten().topk(min(self.test_cfg["max_per_img"], score.numel()))
            chosen = box[index // self.num_classes]
            if rescale:
                chosen = to_original(chosen, sample.metainfo)
            results.append(InstanceData(bboxes=chosen, scores=best, labels=index % self.num_classes))
        return results


def sizes_of(samples: Sequence[BaseDataElement], like: Tensor) -> Tensor:
    """Return width, height, width, height of each image, [N, 4], of the type of ``like``."""
    return like.new_tensor([[*sample.img_shape[1::-1]] * 2 for sample in samples])
