"""Box heads of the second stage: class and exact box of a region (Fast R-CNN, arXiv:1504.08083)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from foveal.heads.detection.dense import precise
from foveal.heads.detection.post_processing import MOST_SORTED, filter_scores_and_topk, select_and_nms, to_original
from foveal.heads.losses.accuracy import accuracy
from foveal.heads.roi_heads.sampling import SampledProposals
from foveal.ops.dispatch import in_graph
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

CODER = {"type": "DeltaXYWHBBoxCoder", "clip_border": True, "target_stds": [0.1, 0.1, 0.2, 0.2]}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
LOSS_BBOX = {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0}
LINEAR = {"type": "Linear"}


@MODELS.register_module()
class ConvFCBBoxHead(BaseModule):
    """Convolutions and linear layers, shared and for each task, then class and box.

    Arguments, defaults and keys (``shared_convs.i.conv``, ``shared_fcs.i``, ``cls_convs``, ``cls_fcs``, ``reg_convs``,
    ``reg_fcs``, ``fc_cls``, ``fc_reg``) are those of mmdet 3.x.

    Args:
        num_classes: C, without background.
        in_channels: Channels of a region's features.
        num_shared_convs: 3x3 convolutions that both tasks share,
        num_shared_fcs: and linear layers.
        num_cls_convs: The same for the class alone,
        num_cls_fcs: and its linear layers.
        num_reg_convs: The same for the box alone,
        num_reg_fcs: and its linear layers.
        conv_out_channels: Channels of the convolutions.
        fc_out_channels: Channels of the linear layers.
        roi_feat_size: Height and width of a region's features.
        with_avg_pool: Average the features over the region before the outputs, where no linear layer is.
        conv_cfg: mmcv's config of the convolutions.
        norm_cfg: mmcv's config of their norms. None: none.
        bbox_coder: Config of how boxes are written as offsets.
        reg_class_agnostic: One box a region, not one for each class.
        reg_decoded_bbox: The box loss compares boxes in pixels, not offsets.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss.
        init_cfg: mmengine's initialisation config. None: mmdet's.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        roi_feat_size: int | Sequence[int] = 7,
        with_avg_pool: bool = False,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        bbox_coder: Options = CODER,
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg or _init(num_shared_fcs, num_cls_fcs, num_reg_fcs))
        self.num_classes = num_classes
        self.reg_class_agnostic = reg_class_agnostic
        self.reg_decoded_bbox = reg_decoded_bbox
        self.with_avg_pool = with_avg_pool
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        height, width = (roi_feat_size, roi_feat_size) if isinstance(roi_feat_size, int) else roi_feat_size
        area = 1 if with_avg_pool else height * width

        def branch(convs: int, fcs: int, channels: int, flat: bool) -> tuple[nn.ModuleList, nn.ModuleList, int, bool]:
            """Convolutions, linear layers, their last channels, and whether these have no area any more."""
            options = {"padding": 1, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
            layers = nn.ModuleList()
            for _ in range(convs):
                layers.append(ConvModule(channels, conv_out_channels, 3, **options))
                channels = conv_out_channels
            lines = nn.ModuleList()
            for _ in range(fcs):
                lines.append(nn.Linear(channels if flat else channels * area, fc_out_channels))
                channels, flat = fc_out_channels, True
            return layers, lines, channels, flat

        self.shared_convs, self.shared_fcs, shared, flat = branch(num_shared_convs, num_shared_fcs, in_channels, False)
        self.cls_convs, self.cls_fcs, cls_width, cls_flat = branch(num_cls_convs, num_cls_fcs, shared, flat)
        self.reg_convs, self.reg_fcs, reg_width, reg_flat = branch(num_reg_convs, num_reg_fcs, shared, flat)
        self.relu = nn.ReLU(inplace=True)
        self.fc_cls = nn.Linear(cls_width if cls_flat else cls_width * area, num_classes + 1)
        boxes = 1 if reg_class_agnostic else num_classes
        self.fc_reg = nn.Linear(reg_width if reg_flat else reg_width * area, 4 * boxes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and box offsets of regions.

        Args:
            x: [K, in_channels, h, w].

        Returns:
            [K, C + 1], the background last, and [K, 4 * C], or [K, 4] for ``reg_class_agnostic``.
        """
        x = self._branch(x, self.shared_convs, self.shared_fcs)
        scores = self._flat(self._branch(x, self.cls_convs, self.cls_fcs))
        codes = self._flat(self._branch(x, self.reg_convs, self.reg_fcs))
        return self.fc_cls(scores), self.fc_reg(codes)

    def _branch(self, x: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        for conv in convs:
            x = conv(x)
        for fc in fcs:
            x = self.relu(fc(self._flat(x)))
        return x

    def _flat(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        return x.mean((2, 3)) if self.with_avg_pool else x.flatten(1)

    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, sampled: Sequence[SampledProposals], pos_weight: float = -1
    ) -> dict[str, Tensor]:
        """Return the losses of sampled proposals.

        Args:
            cls_score: [K, C + 1], as `forward` gives it for all images' proposals in turn.
            bbox_pred: [K, 4 * C] or [K, 4].
            sampled: The images' proposals.
            pos_weight: Weight of positives in the classification; 0 or less: 1.

        Returns:
            ``loss_cls``, ``acc`` in per cent, ``loss_bbox``.
        """
        scores, codes = precise(cls_score), precise(bbox_pred)
        targets = [self._targets(s, pos_weight) for s in sampled]
        labels, weights, goals, positive = (torch.cat(x) for x in zip(*targets, strict=True))
        count = (weights > 0).sum().clamp(min=1)
        losses = {"loss_cls": self.loss_cls(scores, labels, weights.to(scores.dtype), avg_factor=count)}
        losses["acc"] = accuracy(scores, labels)
        chosen = positive.nonzero().squeeze(1)
        if not len(chosen):
            losses["loss_bbox"] = codes.sum() * 0
            return losses
        if not self.reg_class_agnostic:
            codes = codes.view(len(codes), -1, 4)[chosen, labels[chosen]]
        else:
            codes = codes[chosen]
        if self.reg_decoded_bbox:
            priors = torch.cat([s.priors for s in sampled])[chosen]
            codes = self.bbox_coder.decode(priors, codes)
        goals = goals[chosen].to(codes.dtype)
        losses["loss_bbox"] = self.loss_bbox(codes, goals, torch.ones_like(goals), avg_factor=len(labels))
        return losses

    def _targets(self, sampled: SampledProposals, pos_weight: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Labels, their weights, what the offsets should be, and which proposals are positive."""
        count, positives = len(sampled.priors), sampled.positives
        labels = sampled.gt_labels.new_full((count,), self.num_classes)
        labels[:positives] = sampled.gt_labels
        weights = sampled.priors.new_ones(count)
        if pos_weight > 0:
            weights[:positives] = pos_weight
        goals = sampled.priors.new_zeros(count, 4)
        boxes = sampled.gt_boxes
        goals[:positives] = boxes if self.reg_decoded_bbox else self.bbox_coder.encode(sampled.pos_priors, boxes)
        return labels, weights, goals, torch.arange(count, device=labels.device) < positives

    @torch.no_grad()
    def predict(
        self, rois: Tensor, cls_score: Tensor, bbox_pred: Tensor, meta: Options, cfg: Options | None, rescale: bool
    ) -> InstanceData:
        """Return one image's detections.

        Args:
            rois: [K, 5].
            cls_score: [K, C + 1].
            bbox_pred: [K, 4 * C] or [K, 4].
            meta: The image's ``img_shape`` (h, w) and ``scale_factor`` (w, h).
            cfg: mmdet's ``rcnn``: ``score_thr``, ``nms``, ``max_per_img``. None: all boxes with all scores.
            rescale: Boxes in pixels of the original image.

        Returns:
            ``bboxes`` [M, 4], ``scores`` [M], ``labels`` [M], best first.
        """
        scores = precise(cls_score).softmax(-1)
        boxes = self.bbox_coder.decode(rois[:, 1:], precise(bbox_pred), max_shape=meta["img_shape"])
        boxes = boxes.view(len(boxes), -1, 4)
        if rescale:
            boxes = to_original(boxes, meta)
        if cfg is None:
            return InstanceData(bboxes=boxes.flatten(1), scores=scores)
        if in_graph():
            # a region that only fills up their number has no area
            real = (rois[:, 3] > rois[:, 1]) & (rois[:, 4] > rois[:, 2])
            scores = scores[:, :-1] * real[:, None]
            best, labels, points = filter_scores_and_topk(scores, cfg.get("score_thr", 0), MOST_SORTED)
        else:
            points, labels = (scores[:, :-1] > cfg.get("score_thr", 0)).nonzero(as_tuple=True)
            best = scores[points, labels]
        boxes = boxes[points, torch.zeros_like(labels) if self.reg_class_agnostic else labels]
        kept, best = select_and_nms(boxes, best, labels, cfg)
        return InstanceData(bboxes=boxes[kept], scores=best, labels=labels[kept])

    @torch.no_grad()
    def refine(self, rois: Tensor, cls_score: Tensor, bbox_pred: Tensor, meta: Options, labels: Tensor) -> Tensor:
        """Return the box [K, 4] of each region's class, for the next stage of a cascade.

        Args:
            rois: [K, 5].
            cls_score: [K, C + 1].
            bbox_pred: [K, 4 * C] or [K, 4].
            meta: The image's ``img_shape``.
            labels: int64 [K]; where it is the background, the best class counts.
        """
        codes = bbox_pred
        if not self.reg_class_agnostic:
            best = cls_score[:, :-1].argmax(1)
            labels = torch.where(labels == self.num_classes, best, labels)
            codes = bbox_pred.view(len(bbox_pred), -1, 4)[torch.arange(len(labels), device=labels.device), labels]
        return self.bbox_coder.decode(rois[:, 1:], codes, max_shape=meta["img_shape"])


def _init(shared: int, cls: int, reg: int) -> list[Options]:
    """mmdet's: small normal outputs, and Xavier for the linear layers before them."""
    outputs = [
        {"type": "Normal", "std": 0.01, "override": {"name": "fc_cls"}},
        {"type": "Normal", "std": 0.001, "override": {"name": "fc_reg"}},
    ]
    names = [name for name, count in (("shared_fcs", shared), ("cls_fcs", cls), ("reg_fcs", reg)) if count]
    layers = {"type": "Xavier", "distribution": "uniform", "override": [{"name": name} for name in names]}
    return [*outputs, layers] if names else outputs


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two linear layers that both tasks share: Faster and Mask R-CNN's.

    Args:
        num_classes: C, without background.
        fc_out_channels: Channels of the linear layers.
        **kwargs: Other arguments of `ConvFCBBoxHead`.
    """

    def __init__(self, num_classes: int, fc_out_channels: int = 1024, **kwargs: Any) -> None:
        super().__init__(num_classes, num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four convolutions and a linear layer that both tasks share (Group Normalization, arXiv:1803.08494).

    Args:
        num_classes: C, without background.
        fc_out_channels: Channels of the linear layer.
        **kwargs: Other arguments of `ConvFCBBoxHead`.
    """

    def __init__(self, num_classes: int, fc_out_channels: int = 1024, **kwargs: Any) -> None:
        super().__init__(num_classes, num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)
