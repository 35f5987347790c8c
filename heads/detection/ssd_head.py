"""SSD's and SSDLite's head (Liu et al., ECCV 2016, arXiv:1512.02325; Sandler et al., CVPR 2018, arXiv:1801.04381)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.anchor_targets import anchor_targets, usable_anchors
from foveal.heads.detection.dense import flatten_level, map_sizes
from foveal.heads.detection.post_processing import detections
from foveal.layers.csp import conv_kind
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

ANCHORS = {
    "type": "SSDAnchorGenerator",
    "scale_major": False,
    "input_size": 300,
    "strides": [8, 16, 32, 64, 100, 300],
    "ratios": ([2], [2, 3], [2, 3], [2, 3], [2], [2]),
    "basesize_ratio_range": (0.1, 0.9),
}
CODER = {"type": "DeltaXYWHBBoxCoder"}
PSEUDO = {"type": "PseudoSampler"}
XAVIER = {"type": "Xavier", "layer": "Conv2d", "distribution": "uniform", "bias": 0}


@MODELS.register_module()
class SSDHead(BaseModule):
    """One predictor a level: classes, with background, and box offsets of every anchor.

    Arguments, defaults and keys (``cls_convs.level.i``, ``reg_convs.level.i``) are those of mmdet 3.x.

    Args:
        num_classes: C, without background.
        in_channels: Channels of each feature map.
        stacked_convs: Convolutions before each predictor.
        feat_channels: Their channels.
        use_depthwise: Separable convolutions and predictors (SSDLite).
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: mmcv's norm config. None: none.
        act_cfg: mmcv's activation config. None: none.
        anchor_generator: Config of the anchors; one level for each feature map.
        bbox_coder: Config of how boxes are written as offsets.
        reg_decoded_bbox: The box loss compares boxes in pixels, not offsets.
        train_cfg: mmdet's: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``, ``neg_pos_ratio`` (so many of
            the hardest negatives count for each positive) and ``smoothl1_beta``. None: cannot train.
        test_cfg: mmdet's, see `detections`. None: cannot predict.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If ``in_channels`` and the anchors have another number of levels.
    """

    def __init__(
        self,
        num_classes: int = 80,
        in_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        stacked_convs: int = 0,
        feat_channels: int = 256,
        use_depthwise: bool = False,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        act_cfg: Options | None = None,
        anchor_generator: Options = ANCHORS,
        bbox_coder: Options = CODER,
        reg_decoded_bbox: bool = False,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = XAVIER,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_classes = num_classes
        self.cls_out_channels = num_classes + 1
        self.reg_decoded_bbox = reg_decoded_bbox
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
            self.sampler = TASK_UTILS.build(train_cfg.get("sampler") or PSEUDO)
        anchors = self.prior_generator.num_base_priors
        if len(anchors) != len(in_channels):
            raise ConfigError(f"SSDHead has {len(in_channels)} in_channels but anchors for {len(anchors)} levels")
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        shape = (stacked_convs, feat_channels, use_depthwise)
        self.cls_convs, self.reg_convs = nn.ModuleList(), nn.ModuleList()
        for channels, count in zip(in_channels, anchors, strict=True):
            self.cls_convs.append(_predictor(channels, count * self.cls_out_channels, *shape, layers))
            self.reg_convs.append(_predictor(channels, count * 4, *shape, layers))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels[l], H_l, W_l] a level.

        Returns:
            Class logits [N, A_l * (C + 1), H_l, W_l], background last, and box offsets [N, A_l * 4, H_l, W_l].
        """
        scores = [conv(x) for conv, x in zip(self.cls_convs, feats, strict=True)]
        return scores, [conv(x) for conv, x in zip(self.reg_convs, feats, strict=True)]

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, list[Tensor]]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and the metainfo ``img_shape`` and ``pad_shape``.

        Returns:
            ``loss_cls`` and ``loss_bbox``, one entry an image.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        cfg = self.train_cfg
        if cfg is None:
            raise ConfigError("SSDHead has no train_cfg: training needs its assigner")
        maps = self(feats)
        logits = torch.cat([flatten_level(x, self.cls_out_channels) for x in maps[0]], dim=1)
        offsets = torch.cat([flatten_level(x, 4) for x in maps[1]], dim=1)
        sizes = map_sizes(feats)
        anchors = torch.cat(self.prior_generator.grid_priors(sizes, offsets.dtype, offsets.device))
        border = cfg.get("allowed_border", -1)
        usable = [usable_anchors(self.prior_generator, sizes, anchors, s.metainfo, border) for s in data_samples]
        targets = anchor_targets(
            anchors, usable, data_samples, self.assigner, self.sampler, self.num_classes, cfg.get("pos_weight", -1)
        )
        entropy = F.cross_entropy(logits.flatten(0, 1), targets.labels.flatten(), reduction="none")
        entropy = entropy.view_as(targets.labels) * targets.label_weights
        classes = hard_negative_sum(entropy, targets.positive, cfg["neg_pos_ratio"]) / targets.avg_factor
        if self.reg_decoded_bbox:
            offsets, goals = self.bbox_coder.decode(anchors, offsets), targets.boxes
        else:
            goals = self.bbox_coder.encode(anchors, targets.boxes)
        # offsets of boxes that do not overlap the anchor may be infinite: infinity times weight 0 is not a number
        goals = goals.where(targets.positive[..., None], 0)
        distance = F.smooth_l1_loss(offsets, goals, reduction="none", beta=cfg["smoothl1_beta"])
        boxes = (distance * targets.positive[..., None]).sum((1, 2))
        # mmdet's losses keep their average over nothing at zero with this
        boxes = boxes / (targets.avg_factor + torch.finfo(torch.float32).eps)
        return {"loss_cls": list(classes), "loss_bbox": list(boxes)}

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the detections.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``img_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K], best first.
        """
        maps = self(feats)
        scores = [flatten_level(x, self.cls_out_channels).softmax(-1)[..., :-1] for x in maps[0]]
        offsets = [flatten_level(x, 4) for x in maps[1]]
        priors = self.prior_generator.grid_priors(map_sizes(feats), offsets[0].dtype, offsets[0].device)
        metas = [sample.metainfo for sample in data_samples]
        return detections(scores, offsets, priors, self.bbox_coder.decode, metas, self.test_cfg, rescale)


def hard_negative_sum(loss: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """Sum up the positives' losses and the largest of the others'.

    Args:
        loss: [N, P], not negative.
        positive: bool [N, P].
        ratio: So many negatives count for each positive of the same image.

    Returns:
        [N].
    """
    largest = loss.where(~positive, -1).sort(1, descending=True).values
    wanted = (ratio * positive.sum(1, keepdim=True)).clamp(max=positive.shape[1] - positive.sum(1, keepdim=True))
    counted = torch.arange(loss.shape[1], device=loss.device) < wanted
    return (loss * positive).sum(1) + (largest * counted).sum(1)


def _predictor(
    channels: int, out_channels: int, depth: int, width: int, use_depthwise: bool, layers: Options
) -> nn.Sequential:
    """The convolutions of one level, up to the outputs."""
    conv = conv_kind(use_depthwise)
    parts: list[nn.Module] = []
    for _ in range(depth):
        parts.append(conv(channels, width, 3, padding=1, **layers))
        channels = width
    if use_depthwise:
        parts.append(ConvModule(channels, channels, 3, padding=1, groups=channels, **layers))
    size = 1 if use_depthwise else 3
    return nn.Sequential(*parts, nn.Conv2d(channels, out_channels, size, padding=size // 2))
