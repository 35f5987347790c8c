"""RTMDet's head (Lyu et al., 2022, arXiv:2212.07784)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.anchor_targets import AnchorTargets, gather_targets
from foveal.heads.detection.dense import flatten_level, map_sizes, mean_over_ranks, split_ignored
from foveal.heads.detection.post_processing import detections
from foveal.layers.csp import BN, conv_kind
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

SILU = {"type": "SiLU"}
POINTS = {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]}
CODER = {"type": "DistancePointBBoxCoder"}
LOSS_CLS = {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0}
LOSS_BBOX = {"type": "GIoULoss", "loss_weight": 2.0}
NORMS = {"type": "Constant", "layer": ["_BatchNorm", "GroupNorm"], "val": 1}


@dataclass
class RTMDetTargets:
    """What the points of a batch of N images learn.

    Args:
        anchors: Labels, weights, boxes and which points are positive.
        gt_inds: int64 [N, P]: 0 is background, -1 is ignored, i + 1 is ground-truth box i.
        quality: [N, P], the overlap of a positive point's box with its true box; 0 elsewhere.
    """

    anchors: AnchorTargets
    gt_inds: Tensor
    quality: Tensor


@MODELS.register_module()
class RTMDetSepBNHead(BaseModule):
    """Classes and distances to the box's sides of every point; levels share convolutions, but not their norms.

    Arguments and keys (``cls_convs.level.i``, ``reg_convs.level.i``, ``rtm_cls.level``, ``rtm_reg.level``) are those of
    mmdet 3.x.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        share_conv: All levels use the first one's convolutions in the towers.
        use_depthwise: Separable convolutions in the towers; levels cannot share them.
        norm_cfg: mmcv's norm config of the towers.
        act_cfg: mmcv's activation config of the towers.
        pred_kernel_size: Of the last convolutions.
        exp_on_reg: Distances are exponentials.
        with_objectness: Multiply classes by an objectness (as the geometric mean of both).
        stacked_convs: Depth of the towers.
        conv_cfg: mmcv's convolution config of the towers. None: Conv2d.
        init_cfg: mmengine's initialisation config. None: mmdet's way.
        feat_channels: Channels of the towers.
        anchor_generator: Config of the points; one level for each feature map.
        bbox_coder: Config of how boxes are written as distances.
        loss_cls: Config of the classification loss; takes class numbers and qualities.
        loss_bbox: Config of the box loss, on boxes in pixels.
        train_cfg: mmdet's: ``assigner``, ``pos_weight``. None: cannot train.
        test_cfg: mmdet's, see `detections`. None: cannot predict.

    Raises:
        ConfigError: If ``share_conv`` and ``use_depthwise`` are both set.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        use_depthwise: bool = False,
        norm_cfg: Options = BN,
        act_cfg: Options = SILU,
        pred_kernel_size: int = 1,
        exp_on_reg: bool = False,
        with_objectness: bool = True,
        stacked_convs: int = 4,
        conv_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
        feat_channels: int = 256,
        anchor_generator: Options = POINTS,
        bbox_coder: Options = CODER,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
    ) -> None:
        rare = ["rtm_cls", "rtm_obj"] if with_objectness else ["rtm_cls"]
        super().__init__(init_cfg=init_cfg or normal_init_of(rare))
        if share_conv and use_depthwise:
            raise ConfigError("RTMDet's levels cannot share depthwise convolutions: set share_conv=False")
        self.num_classes = num_classes
        self.exp_on_reg = exp_on_reg
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])

        levels = self.prior_generator.num_levels
        layers = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        conv = conv_kind(use_depthwise)
        shape = (levels, stacked_convs, in_channels, feat_channels, layers)
        self.cls_convs = towers(conv, *shape, share_conv)
        self.reg_convs = self._reg_towers(conv, *shape, share_conv)
        self.rtm_cls = predictors(levels, feat_channels, num_classes, pred_kernel_size)
        self.rtm_reg = predictors(levels, feat_channels, 4, pred_kernel_size)
        self.rtm_obj = predictors(levels, feat_channels, 1, pred_kernel_size) if with_objectness else None

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Class logits [N, C, H_l, W_l] and distances [N, 4, H_l, W_l] in pixels (left, top, right, bottom), a list
            each.
        """
        scores, distances = [], []
        for level, (x, (stride, _)) in enumerate(zip(feats, self.prior_generator.strides, strict=True)):
            reg_feat = self.reg_convs[level](x)
            score = self.rtm_cls[level](self.cls_convs[level](x))
            if self.rtm_obj is not None:
                score = with_objectness(score, self.rtm_obj[level](reg_feat))
            scores.append(score)
            distances.append(self._distances(self.rtm_reg[level](reg_feat)) * stride)
        return scores, distances

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Any]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and, where the batch was padded, ``pad_shape``.

        Returns:
            ``loss_cls`` and ``loss_bbox``, a scalar for each level.
        """
        scores, distances = self(feats)
        return self.dense_losses(scores, distances, data_samples)[0]

    def dense_losses(
        self, scores: list[Tensor], distances: list[Tensor], data_samples: Sequence[BaseDataElement]
    ) -> tuple[dict[str, list[Tensor]], RTMDetTargets]:
        """Return the losses of classes and boxes, and what the points were told to learn.

        Args:
            scores: As from `forward`.
            distances: As from `forward`.
            data_samples: As for `loss`.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        if self.train_cfg is None:
            raise ConfigError(f"{type(self).__name__} has no train_cfg: training needs its assigner")
        logits = torch.cat([flatten_level(x, self.num_classes) for x in scores], dim=1)
        codes = [flatten_level(x, 4) for x in distances]
        counts = [level.shape[1] for level in codes]
        sizes = map_sizes(scores)
        points = self.prior_generator.grid_priors(sizes, logits.dtype, logits.device, with_stride=True)
        priors = torch.cat(points)
        boxes = self.bbox_coder.decode(priors[:, :2].expand(len(logits), -1, -1), torch.cat(codes, dim=1))
        targets = self._targets(logits.detach(), boxes.detach(), priors, sizes, data_samples)
        positive = targets.anchors.positive
        avg_factor = mean_over_ranks(targets.quality.sum()).clamp(min=1)
        # elsewhere prediction and goal are one box, so that weight 0 never meets infinity
        same = boxes.new_tensor([0, 0, 1, 1])
        boxes = boxes.where(positive[..., None], same)
        goals = targets.anchors.boxes.where(positive[..., None], same)
        losses: dict[str, list[Tensor]] = {"loss_cls": [], "loss_bbox": []}
        tensors = (logits, boxes, targets.anchors.labels, targets.anchors.label_weights, goals, targets.quality)
        for level in zip(*(x.split(counts, dim=1) for x in tensors), strict=True):
            logit, box, label, weight, goal, quality = (x.flatten(0, 1) for x in level)
            losses["loss_cls"].append(self.loss_cls(logit, (label, quality), weight, avg_factor=1.0) / avg_factor)
            losses["loss_bbox"].append(self.loss_bbox(box, goal, quality, avg_factor=1.0) / avg_factor)
        return losses, targets

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
        scores = [flatten_level(x, self.num_classes).sigmoid() for x in maps[0]]
        codes = [flatten_level(x, 4) for x in maps[1]]
        points = self.prior_generator.grid_priors(map_sizes(feats), codes[0].dtype, codes[0].device)
        metas = [sample.metainfo for sample in data_samples]
        return detections(scores, codes, points, self.bbox_coder.decode, metas, self.test_cfg, rescale)

    def _reg_towers(self, *shape: Any) -> nn.ModuleList:
        """The towers of the boxes."""
        return towers(*shape)

    def _distances(self, x: Tensor) -> Tensor:
        """Distances in strides from what the last convolution gives."""
        return x.exp() if self.exp_on_reg else x

    @torch.no_grad()
    def _targets(
        self,
        logits: Tensor,
        boxes: Tensor,
        priors: Tensor,
        sizes: list[tuple[int, int]],
        samples: Sequence[BaseDataElement],
    ) -> RTMDetTargets:
        indices, qualities = [], []
        for i, sample in enumerate(samples):
            guesses = InstanceData(scores=logits[i], bboxes=boxes[i], priors=priors)
            result = self.assigner.assign(guesses, *split_ignored(sample))
            gt_inds = result.gt_inds
            if "pad_shape" in sample.metainfo:
                flags = self.prior_generator.valid_flags(sizes, sample.metainfo["pad_shape"], priors.device)
                gt_inds = gt_inds if flags is None else gt_inds.where(torch.cat(flags), -1)
            indices.append(gt_inds)
            qualities.append(result.max_overlaps)
        gt_inds = torch.stack(indices)
        pos_weight = (self.train_cfg or {}).get("pos_weight", -1)
        anchors = gather_targets(gt_inds, samples, logits.dtype, self.num_classes, pos_weight)
        return RTMDetTargets(anchors, gt_inds, torch.stack(qualities) * anchors.positive)


def normal_init_of(rare: Sequence[str], **biases: float) -> list[Options]:
    """Return an initialisation config: convolutions from a normal distribution, norms at 1.

    Args:
        rare: Names of layers whose biases make a sigmoid start at 0.01.
        biases: Biases of other layers by name.
    """
    override: list[Options] = [{"type": "Normal", "name": name, "std": 0.01, "bias_prob": 0.01} for name in rare]
    override += [{"type": "Normal", "name": name, "std": 0.01, "bias": bias} for name, bias in biases.items()]
    return [{"type": "Normal", "layer": "Conv2d", "std": 0.01, "override": override}, NORMS]


def towers(
    conv: type[nn.Module],
    levels: int,
    depth: int,
    in_channels: int,
    channels: int,
    layers: Options,
    share_conv: bool,
) -> nn.ModuleList:
    """Return one tower of convolutions a level; with ``share_conv`` all have the first one's weights, not its norms."""
    found = nn.ModuleList(
        nn.Sequential(*(conv(channels if i else in_channels, channels, 3, padding=1, **layers) for i in range(depth)))
        for _ in range(levels)
    )
    if share_conv:
        first: Any = found[0]
        for tower in list(found)[1:]:
            for i, module in enumerate(tower.children()):
                module.conv = first[i].conv
    return found


def predictors(levels: int, channels: int, out_channels: int, kernel_size: int) -> nn.ModuleList:
    """Return one last convolution a level."""
    return nn.ModuleList(
        nn.Conv2d(channels, out_channels, kernel_size, padding=kernel_size // 2) for _ in range(levels)
    )


def with_objectness(score: Tensor, objectness: Tensor, eps: float = 1e-5) -> Tensor:
    """Return logits whose sigmoid is the geometric mean of two sigmoids, of ``score`` and of ``objectness``."""
    mean = (score.sigmoid() * objectness.sigmoid()).sqrt()
    return (mean.clamp(min=eps) / (1 - mean).clamp(min=eps)).log()
