"""YOLOX's head (Ge et al., 2021, arXiv:2107.08430)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, bias_init_with_prob
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.anchors import MlvlPointGenerator
from foveal.heads.detection.dense import flatten_level, map_sizes, mean_over_ranks, split_ignored
from foveal.heads.detection.post_processing import select_and_nms, to_original
from foveal.layers.csp import BN, conv_kind
from foveal.ops.dispatch import in_graph
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

SWISH = {"type": "Swish"}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 1.0}
LOSS_BBOX = {"type": "IoULoss", "mode": "square", "eps": 1e-16, "reduction": "sum", "loss_weight": 5.0}
LOSS_OBJ = {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 1.0}
LOSS_L1 = {"type": "L1Loss", "reduction": "sum", "loss_weight": 1.0}
KAIMING = {
    "type": "Kaiming",
    "layer": "Conv2d",
    "a": math.sqrt(5),
    "distribution": "uniform",
    "mode": "fan_in",
    "nonlinearity": "leaky_relu",
}


@MODELS.register_module(name=["YOLOXHead", "SharedDetHead"])
class YOLOXHead(BaseModule):
    """Classes, boxes and objectness of every point, with towers of its own for each level.

    Arguments, defaults and keys (``multi_level_cls_convs.level.i``, ``multi_level_conv_cls.level``, …) are those of
    mmdet 3.x. FemtoDet's ``SharedDetHead`` is this class.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        feat_channels: Channels of the towers.
        stacked_convs: Depth of the towers.
        strides: Pixels between the points, one a level.
        use_depthwise: Separable convolutions in the towers.
        dcn_on_last_conv: Deformable convolution at the end of the towers; there is none: must be False.
        conv_bias: Bias in the towers; ``auto``: only without a norm.
        conv_cfg: mmcv's convolution config of the towers. None: Conv2d.
        norm_cfg: mmcv's norm config of the towers.
        act_cfg: mmcv's activation config of the towers.
        loss_cls: Config of the classification loss, which aims at the overlap.
        loss_bbox: Config of the box loss, on boxes in pixels.
        loss_obj: Config of the objectness loss.
        loss_l1: Config of the loss on the raw box outputs, which the last epochs add.
        train_cfg: mmdet's: ``assigner``. None: cannot train.
        test_cfg: mmdet's: ``score_thr`` and ``nms``; also ``max_per_img``. None: cannot predict.
        init_cfg: mmengine's initialisation config.

    Attributes:
        use_l1: Add ``loss_l1``; a hook switches it on for the last epochs.

    Raises:
        ConfigError: If ``dcn_on_last_conv`` is set.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        strides: Sequence[int] = (8, 16, 32),
        use_depthwise: bool = False,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = "auto",
        conv_cfg: Options | None = None,
        norm_cfg: Options = BN,
        act_cfg: Options = SWISH,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        loss_obj: Options = LOSS_OBJ,
        loss_l1: Options = LOSS_L1,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = KAIMING,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if dcn_on_last_conv:
            raise ConfigError("YOLOXHead has no deformable convolution: dcn_on_last_conv must be False")
        self.num_classes = num_classes
        self.use_l1 = False
        self.test_cfg = test_cfg
        self.train_cfg = train_cfg
        self.prior_generator = MlvlPointGenerator(strides, offset=0)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_obj = MODELS.build(loss_obj)
        self.loss_l1 = MODELS.build(loss_l1)
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])

        conv = conv_kind(use_depthwise)
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg, "bias": conv_bias}

        def towers() -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(
                    *(
                        conv(feat_channels if i else in_channels, feat_channels, 3, padding=1, **layers)
                        for i in range(stacked_convs)
                    )
                )
                for _ in strides
            )

        def predictors(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(feat_channels, channels, 1) for _ in strides)

        self.multi_level_cls_convs, self.multi_level_reg_convs = towers(), towers()
        self.multi_level_conv_cls = predictors(num_classes)
        self.multi_level_conv_reg = predictors(4)
        self.multi_level_conv_obj = predictors(1)

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; classes and objectness start at a probability of 0.01."""
        super().init_weights()
        for conv in (*self.multi_level_conv_cls, *self.multi_level_conv_obj):
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Class logits [N, C, H_l, W_l], boxes [N, 4, H_l, W_l] (centre's offset and logarithm of the size, in
            strides) and objectness logits [N, 1, H_l, W_l], a list each.
        """
        scores, boxes, objectness = [], [], []
        for level, x in enumerate(feats):
            reg_feat = self.multi_level_reg_convs[level](x)
            scores.append(self.multi_level_conv_cls[level](self.multi_level_cls_convs[level](x)))
            boxes.append(self.multi_level_conv_reg[level](reg_feat))
            objectness.append(self.multi_level_conv_obj[level](reg_feat))
        return scores, boxes, objectness

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances``.

        Returns:
            The scalars ``loss_cls``, ``loss_bbox``, ``loss_obj`` and, with ``use_l1``, ``loss_l1``.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        if self.train_cfg is None:
            raise ConfigError("YOLOXHead has no train_cfg: training needs its assigner")
        logits, codes, objectness, priors = self._flat(feats)
        boxes = decode(priors, codes)
        gt_inds, overlaps = self._assign(logits.detach(), boxes.detach(), objectness.detach(), priors, data_samples)
        positive = gt_inds > 0
        image, point = positive.nonzero(as_tuple=True)
        count = mean_over_ranks(positive.sum().to(logits.dtype)).clamp(min=1)
        truth, labels = _matched(gt_inds, image, point, data_samples, boxes.dtype)
        quality = F.one_hot(labels, self.num_classes) * overlaps[image, point][:, None]
        losses = {
            "loss_cls": self.loss_cls(logits[image, point], quality) / count,
            "loss_bbox": self.loss_bbox(boxes[image, point], truth) / count,
            "loss_obj": self.loss_obj(objectness.reshape(-1, 1), positive.reshape(-1, 1).to(logits.dtype)) / count,
        }
        if self.use_l1:
            losses["loss_l1"] = self.loss_l1(codes[image, point], encode(priors[point], truth)) / count
        return losses

    @torch.no_grad()
    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the detections: of every point, its best class.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``scale_factor`` (w, h).
            rescale: Boxes in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], which may stand out of the image, ``scores`` [K] (class score
            times objectness), ``labels`` [K], best first.

        Raises:
            ConfigError: If there is no ``test_cfg``.
        """
        if self.test_cfg is None:
            raise ConfigError("the model has no test_cfg: prediction needs score_thr and nms")
        logits, codes, objectness, priors = self._flat(feats)
        boxes = decode(priors, codes)
        best, classes = logits.sigmoid().max(2)
        scores = best * objectness.sigmoid()
        results = []
        for i, sample in enumerate(data_samples):
            found = self._passed(InstanceData(bboxes=boxes[i], scores=scores[i], labels=classes[i]))
            if rescale:
                found.bboxes = to_original(found.bboxes, sample.metainfo)
            kept, best = select_and_nms(found.bboxes, found.scores, found.labels, self.test_cfg)
            found = found[kept]
            found.scores = best
            results.append(found)
        return results

    def _passed(self, found: InstanceData) -> InstanceData:
        """Boxes with a sufficient score; in a graph for a file their number is fixed, and others get the score 0."""
        valid = found.scores >= (self.test_cfg or {})["score_thr"]
        if not in_graph():
            return found[valid]
        found.scores = found.scores * valid
        return found

    def _flat(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [N, P, C], raw boxes [N, P, 4], objectness [N, P] and priors [P, 4] of all levels."""
        maps = self(feats)
        logits, codes, objectness = (
            torch.cat([flatten_level(x, channels) for x in level_maps], dim=1)
            for level_maps, channels in zip(maps, (self.num_classes, 4, 1), strict=True)
        )
        priors = self.prior_generator.grid_priors(map_sizes(feats), codes.dtype, codes.device, with_stride=True)
        return logits, codes, objectness[..., 0], torch.cat(priors)

    @torch.no_grad()
    def _assign(
        self,
        logits: Tensor,
        boxes: Tensor,
        objectness: Tensor,
        priors: Tensor,
        samples: Sequence[BaseDataElement],
    ) -> tuple[Tensor, Tensor]:
        """``gt_inds`` and ``max_overlaps`` [N, P] of all images."""
        scores = (logits.sigmoid() * objectness[..., None].sigmoid()).sqrt()
        # the assigner measures from the middle of a point's cell
        middles = torch.cat((priors[:, :2] + priors[:, 2:] * 0.5, priors[:, 2:]), dim=1)
        results = [
            self.assigner.assign(
                InstanceData(scores=scores[i], bboxes=boxes[i], priors=middles), *split_ignored(sample)
            )
            for i, sample in enumerate(samples)
        ]
        return torch.stack([r.gt_inds for r in results]), torch.stack([r.max_overlaps for r in results])


def decode(priors: Tensor, codes: Tensor) -> Tensor:
    """Return boxes [..., P, 4] from raw ones [..., P, 4] at points [P, 4] (x, y, strides)."""
    center = codes[..., :2] * priors[:, 2:] + priors[:, :2]
    half = codes[..., 2:].exp() * priors[:, 2:] / 2
    return torch.cat((center - half, center + half), dim=-1)


def encode(priors: Tensor, boxes: Tensor, eps: float = 1e-8) -> Tensor:
    """Return the raw outputs [P, 4] that `decode` turns into ``boxes`` [P, 4]; ``eps`` keeps the logarithm finite."""
    center = ((boxes[:, :2] + boxes[:, 2:]) / 2 - priors[:, :2]) / priors[:, 2:]
    size = ((boxes[:, 2:] - boxes[:, :2]) / priors[:, 2:] + eps).log()
    return torch.cat((center, size), dim=1)


def _matched(
    gt_inds: Tensor, image: Tensor, point: Tensor, samples: Sequence[BaseDataElement], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """True boxes [K, 4] and labels [K] of the positive points."""
    counts = [len(sample.gt_instances.labels) for sample in samples]
    first = torch.tensor([0, *counts[:-1]], device=gt_inds.device).cumsum(0)
    which = first[image] + gt_inds[image, point] - 1
    boxes = torch.cat([sample.gt_instances.bboxes for sample in samples])
    labels = torch.cat([sample.gt_instances.labels for sample in samples])
    return boxes[which].to(dtype), labels[which]
