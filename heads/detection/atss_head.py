"""ATSS's head (Zhang et al., CVPR 2020, arXiv:1912.02424)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import Scale
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.anchor_targets import anchor_targets, usable_anchors
from foveal.heads.detection.dense import centerness_target, conv_tower, flatten_level, map_sizes, mean_over_ranks
from foveal.heads.detection.post_processing import detections
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

ANCHORS = {
    "type": "AnchorGenerator",
    "scales": [8, 16, 32],
    "ratios": [0.5, 1.0, 2.0],
    "strides": [4, 8, 16, 32, 64],
}
CODER = {"type": "DeltaXYWHBBoxCoder"}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
LOSS_BBOX = {"type": "SmoothL1Loss", "beta": 1.0 / 9.0, "loss_weight": 1.0}
LOSS_CENTERNESS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
GN = {"type": "GN", "num_groups": 32, "requires_grad": True}
PSEUDO = {"type": "PseudoSampler"}
INIT = {
    "type": "Normal",
    "layer": "Conv2d",
    "std": 0.01,
    "override": {"type": "Normal", "name": "atss_cls", "std": 0.01, "bias_prob": 0.01},
}


@MODELS.register_module()
class ATSSHead(BaseModule):
    """Classes, box offsets and centerness of every anchor, as a rule one a point.

    Arguments, defaults and keys (``cls_convs.i``, ``reg_convs.i``, ``atss_cls``, ``atss_reg``, ``atss_centerness``,
    ``scales.i.scale``) are those of mmdet 3.x. The box loss compares boxes in pixels.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        pred_kernel_size: Of the last convolutions.
        stacked_convs: Depth of the towers.
        conv_cfg: mmcv's convolution config of the towers. None: Conv2d.
        norm_cfg: mmcv's norm config of the towers. None: none.
        loss_centerness: Config of the centerness loss.
        init_cfg: mmengine's initialisation config.
        feat_channels: Channels of the towers.
        anchor_generator: Config of the anchors; one level for each feature map.
        bbox_coder: Config of how boxes are written as offsets.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss.
        train_cfg: mmdet's: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``. None: cannot train.
        test_cfg: mmdet's, see `detections`. None: cannot predict.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = GN,
        loss_centerness: Options = LOSS_CENTERNESS,
        init_cfg: Options | list[Options] | None = INIT,
        feat_channels: int = 256,
        anchor_generator: Options = ANCHORS,
        bbox_coder: Options = CODER,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_classes = num_classes
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_centerness = MODELS.build(loss_centerness)
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
            self.sampler = TASK_UTILS.build(train_cfg.get("sampler") or PSEUDO)

        anchors = self.prior_generator.num_base_priors[0]
        self.cls_convs = conv_tower(in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg)
        self.reg_convs = conv_tower(in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg)
        padding = pred_kernel_size // 2
        self.atss_cls = nn.Conv2d(feat_channels, anchors * num_classes, pred_kernel_size, padding=padding)
        self.atss_reg = nn.Conv2d(feat_channels, anchors * 4, pred_kernel_size, padding=padding)
        self.atss_centerness = nn.Conv2d(feat_channels, anchors, pred_kernel_size, padding=padding)
        self.scales = nn.ModuleList([Scale(1.0) for _ in self.prior_generator.strides])

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Class logits [N, A * C, H_l, W_l], box offsets [N, A * 4, H_l, W_l] and centerness logits [N, A, H_l, W_l],
            a list each.
        """
        return self.outputs(*self.tower_feats(feats))

    def tower_feats(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what the towers make of the maps: features for classes and for boxes, [N, feat_channels, H_l, W_l]."""
        return [self.cls_convs(x) for x in feats], [self.reg_convs(x) for x in feats]

    def outputs(
        self, cls_feats: list[Tensor], reg_feats: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the raw outputs as `forward` does, from the towers' features."""
        scores = [self.atss_cls(x) for x in cls_feats]
        offsets = [scale(self.atss_reg(x)) for x, scale in zip(reg_feats, self.scales, strict=True)]
        return scores, offsets, [self.atss_centerness(x) for x in reg_feats]

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, list[Tensor]]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and the metainfo ``img_shape`` and ``pad_shape``.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_centerness``, a scalar for each level.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        return self.loss_from(*self.tower_feats(feats), data_samples)

    def loss_from(
        self, cls_feats: list[Tensor], reg_feats: list[Tensor], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, list[Tensor]]:
        """Return the losses as `loss` does, from the towers' features."""
        cfg = self.train_cfg
        if cfg is None:
            raise ConfigError("ATSSHead has no train_cfg: training needs its assigner")
        maps = self.outputs(cls_feats, reg_feats)
        logits, offsets, centerness = (
            [flatten_level(x, channels) for x in level_maps]
            for level_maps, channels in zip(maps, (self.num_classes, 4, 1), strict=True)
        )
        counts = [level.shape[1] for level in offsets]
        sizes = map_sizes(maps[0])
        anchors = torch.cat(self.prior_generator.grid_priors(sizes, offsets[0].dtype, offsets[0].device))
        border = cfg.get("allowed_border", -1)
        usable = [usable_anchors(self.prior_generator, sizes, anchors, s.metainfo, border) for s in data_samples]
        targets = anchor_targets(
            anchors,
            usable,
            data_samples,
            self.assigner,
            self.sampler,
            self.num_classes,
            cfg.get("pos_weight", -1),
            counts,
        )
        avg_factor = mean_over_ranks(targets.avg_factor.to(anchors.dtype))
        positive = targets.positive
        # elsewhere prediction and goal are the anchor itself, so that weight 0 never meets infinity
        goals = targets.boxes.where(positive[..., None], anchors)
        centers = (anchors[:, :2] + anchors[:, 2:]) / 2
        central = centerness_target(torch.cat((centers - goals[..., :2], goals[..., 2:] - centers), dim=-1)) * positive
        central_sum = mean_over_ranks(central.sum()).clamp(min=1)
        losses: dict[str, list[Tensor]] = {"loss_cls": [], "loss_bbox": [], "loss_centerness": []}
        tensors = (targets.labels, targets.label_weights, goals, central, positive)
        pieces = zip(anchors.split(counts), *(x.split(counts, dim=1) for x in tensors), strict=True)
        for level, (priors, labels, weights, goal, weight, found) in enumerate(pieces):
            boxes = self.bbox_coder.decode(priors.expand_as(offsets[level]), offsets[level])
            boxes = boxes.where(found[..., None], priors)
            losses["loss_cls"].append(
                self.loss_cls(logits[level].flatten(0, 1), labels.flatten(), weights.flatten(), avg_factor=avg_factor)
            )
            box_loss = self.loss_bbox(boxes.flatten(0, 1), goal.flatten(0, 1), weight.flatten(), avg_factor=1.0)
            losses["loss_bbox"].append(box_loss / central_sum)
            losses["loss_centerness"].append(
                self.loss_centerness(
                    centerness[level].flatten(),
                    weight.flatten(),
                    found.flatten().to(weight.dtype),
                    avg_factor=avg_factor,
                )
            )
        return losses

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the detections.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``img_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K] (class score times centerness), ``labels`` [K],
            best first.
        """
        return self.predict_from(*self.tower_feats(feats), data_samples, rescale)

    def predict_from(
        self,
        cls_feats: list[Tensor],
        reg_feats: list[Tensor],
        data_samples: Sequence[BaseDataElement],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Return the detections as `predict` does, from the towers' features."""
        maps = self.outputs(cls_feats, reg_feats)
        scores = [flatten_level(x, self.num_classes).sigmoid() for x in maps[0]]
        offsets = [flatten_level(x, 4) for x in maps[1]]
        factors = [flatten_level(x, 1)[..., 0].sigmoid() for x in maps[2]]
        priors = self.prior_generator.grid_priors(map_sizes(maps[0]), offsets[0].dtype, offsets[0].device)
        metas = [sample.metainfo for sample in data_samples]
        return detections(scores, offsets, priors, self.bbox_coder.decode, metas, self.test_cfg, rescale, factors)
