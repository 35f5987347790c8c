"""RelationNet++'s key points: corners and centres of objects (Chi et al., NeurIPS 2020, arXiv:2010.15831).

Source: ``code/models/dense_heads/keypoint_head.py`` of https://github.com/microsoft/RelationNet2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, bias_init_with_prob, normal_init
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.anchors import MlvlPointGenerator
from foveal.heads.detection.dense import flatten_level, map_sizes, mean_over_ranks
from foveal.heads.detection.gaussian import gaussian_radius
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]
Maps = dict[str, list[Tensor]]

TYPES = ("top_left_corner", "bottom_right_corner", "center")
LOSS_CLS = {"type": "GaussianFocalLoss", "loss_weight": 0.25}
LOSS_OFFSET = {"type": "SmoothL1Loss", "loss_weight": 1.0 / 9.0}


@dataclass
class Keypoints:
    """The best K key points of one kind on each of N images.

    Args:
        scores: [N, K] in [0, 1].
        positions: [N, K, 2] x, y in pixels of the network's input.
        features: [N, K, C], the feature map's vectors at their points.
    """

    scores: Tensor
    positions: Tensor
    features: Tensor


@TASK_UTILS.register_module()
class PointKptAssigner:
    """Give each key point the nearest point of every level, and the points around it a share of it.

    Args:
        gaussian_iou: IoU that a box keeps whose corners are moved by the radius of the bell around a key point.
    """

    def __init__(self, gaussian_iou: float = 0.7) -> None:
        self.gaussian_iou = gaussian_iou

    @torch.no_grad()
    def assign(
        self, levels: Sequence[Tensor], keypoints: Tensor, truth: InstanceData, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Assign the points of one image.

        Args:
            levels: One [P_l, 4] a level: x, y and the stride, twice.
            keypoints: [G, 2] x, y.
            truth: ``bboxes`` [G, 4], whose size is that of the bells, and ``labels`` [G].
            num_classes: C.

        Returns:
            Shares [P, C] in [0, 1], offsets [P, 2] in strides, 0 where not positive, and bool [P]: nearest to one.
        """
        points = torch.cat(list(levels))
        if not len(keypoints):
            return points.new_zeros(len(points), num_classes), points.new_zeros(len(points), 2), points[:, 0] < 0
        size = truth.bboxes[:, 2:] - truth.bboxes[:, :2]
        sigma = ((2 * gaussian_radius(size, self.gaussian_iou) + 1) / 6).to(points.dtype)
        shares, positive = [], []
        for level in levels:
            nearest = torch.cdist(level[:, :2], keypoints.to(level.dtype)).argmin(0)
            distance = (level[:, None, :2] - level[nearest, :2]).square().sum(-1)
            shares.append((-0.5 * distance / sigma**2).exp())
            positive.append(torch.zeros_like(level[:, 0], dtype=torch.bool).index_fill_(0, nearest, True))
        share, which = torch.cat(shares).max(1)
        found = torch.cat(positive)
        scores = points.new_zeros(len(points), num_classes).scatter_(1, truth.labels[which, None], share[:, None])
        offsets = (keypoints[which].to(points.dtype) - points[:, :2]) / points[:, 2:]
        return scores, offsets.where(found[:, None], 0), found


@MODELS.register_module()
class KeypointHead(BaseModule):
    """Heat maps of every kind of key point, and its offset from the grid; the official arguments and keys.

    The keys are ``shared_layers.i``, ``keypoint_layers.kind.i``, ``keypoint_cls_heads.kind.i`` and
    ``keypoint_offset_heads.kind.i``.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        shared_stacked_convs: Convolutions that all kinds share.
        logits_convs: Convolutions before each of the last ones.
        head_types: Kinds of key points: ``top_left_corner``, ``bottom_right_corner``, ``center``.
        corner_pooling: CornerNet's pooling; there is none: must be False.
        loss_offset: Config of the offsets' loss, in strides.
        loss_cls: Config of the heat maps' loss, on probabilities.
        feat_channels: Channels of the convolutions.
        stacked_convs: Convolutions of each kind.
        strides: Pixels between the points, one a level.
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: mmcv's norm config. None: none.
        train_cfg: ``assigner``. None: cannot train.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If ``corner_pooling`` is set, or a kind is unknown.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        shared_stacked_convs: int = 0,
        logits_convs: int = 0,
        head_types: Sequence[str] = TYPES,
        corner_pooling: bool = False,
        loss_offset: Options = LOSS_OFFSET,
        loss_cls: Options = LOSS_CLS,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        train_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if corner_pooling:
            raise ConfigError("KeypointHead has no corner pooling: corner_pooling must be False")
        unknown = set(head_types) - set(TYPES)
        if unknown:
            raise ConfigError(f"KeypointHead's head_types are among {', '.join(TYPES)}; got {', '.join(unknown)}")
        self.num_classes = num_classes
        self.head_types = list(head_types)
        self.prior_generator = MlvlPointGenerator(strides)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_offset = MODELS.build(loss_offset)
        self.assigner = None if train_cfg is None else TASK_UTILS.build(train_cfg["assigner"])

        def convs(channels: int, depth: int) -> list[nn.Module]:
            layers = {"padding": 1, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
            return [ConvModule(feat_channels if i else channels, feat_channels, 3, **layers) for i in range(depth)]

        def last(channels: int) -> nn.Sequential:
            conv = nn.Conv2d(feat_channels, channels, 3, padding=1)
            return nn.Sequential(*convs(feat_channels, logits_convs), conv)

        width = feat_channels if shared_stacked_convs else in_channels
        self.shared_layers = nn.Sequential(*convs(in_channels, shared_stacked_convs))
        self.keypoint_layers = nn.ModuleDict(
            {kind: nn.Sequential(*convs(width, stacked_convs)) for kind in self.head_types}
        )
        self.keypoint_cls_heads = nn.ModuleDict({kind: last(num_classes) for kind in self.head_types})
        self.keypoint_offset_heads = nn.ModuleDict({kind: last(2) for kind in self.head_types})

    def init_weights(self) -> None:
        """Initialise as the official code does: from a normal distribution; heat maps start at 0.01."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                normal_init(module, std=0.01)
        for head in self.keypoint_cls_heads.values():
            conv: Any = list(head.children())[-1]
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, feats: Sequence[Tensor]) -> tuple[Maps, Maps]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            By kind, logits [N, C, H_l, W_l] and offsets [N, 2, H_l, W_l] in strides, a list each.
        """
        shared = [self.shared_layers(x) for x in feats]
        scores: Maps = {}
        offsets: Maps = {}
        for kind in self.head_types:
            own = [self.keypoint_layers[kind](x) for x in shared]
            scores[kind] = [self.keypoint_cls_heads[kind](x) for x in own]
            offsets[kind] = [self.keypoint_offset_heads[kind](x) for x in own]
        return scores, offsets

    def loss_from(self, scores: Maps, offsets: Maps, data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            scores: As from `forward`.
            offsets: As from `forward`.
            data_samples: N samples with ``gt_instances``.

        Returns:
            The scalars ``loss_point_cls`` and ``loss_point_offset``.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        if self.assigner is None:
            raise ConfigError("KeypointHead has no train_cfg: training needs its assigner")
        logits = [torch.cat([flatten_level(x, self.num_classes) for x in scores[k]], 1) for k in self.head_types]
        places = [torch.cat([flatten_level(x, 2) for x in offsets[k]], 1) for k in self.head_types]
        levels = self.points(scores[self.head_types[0]])
        targets = [
            self.assigner.assign(levels, _keypoints(kind, s.gt_instances.bboxes), s.gt_instances, self.num_classes)
            for kind in self.head_types
            for s in data_samples
        ]
        share, offset, positive = (torch.stack(x) for x in zip(*targets, strict=True))
        count = mean_over_ranks(positive.sum().to(share.dtype)).clamp(min=1)
        pred, place = torch.cat(logits).sigmoid(), torch.cat(places)
        weight = positive[..., None].expand_as(place).to(place.dtype)
        return {
            "loss_point_cls": self.loss_cls(pred, share, avg_factor=count),
            "loss_point_offset": self.loss_offset(place, offset, weight, avg_factor=count),
        }

    def best(
        self, kind: str, scores: Maps, offsets: Maps, feats: Sequence[Tensor], per_level: int, overall: int
    ) -> list[Keypoints]:
        """Return the best key points of one kind.

        Args:
            kind: One of ``head_types``.
            scores: As from `forward`.
            offsets: As from `forward`.
            feats: Maps [N, C, H_l, W_l] whose vectors describe the key points.
            per_level: So many local maxima of each level.
            overall: So many of all levels together, for every level the same. 0 or less: each level its own.

        Returns:
            One entry a level.
        """
        found = []
        for logit, offset, feat, points in zip(
            scores[kind], offsets[kind], feats, self.points(scores[kind]), strict=True
        ):
            heat = logit.sigmoid()
            peaks = heat * (F.max_pool2d(heat, 3, stride=1, padding=1) == heat)
            area = heat.shape[2] * heat.shape[3]
            score, index = peaks.flatten(1).topk(min(area, per_level))
            index = index % area
            place = points[index, :2] + _gather(offset, index) * points[index, 2:]
            found.append(Keypoints(score, place, _gather(feat, index)))
        if overall <= 0:
            return found
        score = torch.cat([level.scores for level in found], dim=1)
        score, index = score.topk(min(overall, score.shape[1]))
        places, vectors = (
            torch.cat(x, dim=1).gather(1, index[..., None].expand(-1, -1, x[0].shape[-1]))
            for x in ([level.positions for level in found], [level.features for level in found])
        )
        return [Keypoints(score, places, vectors)] * len(found)

    def points(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one [P_l, 4] for each map: the middles of its cells and the strides."""
        dtype = torch.promote_types(maps[0].dtype, torch.float32)
        return self.prior_generator.grid_priors(map_sizes(maps), dtype, maps[0].device, with_stride=True)


def _keypoints(kind: str, boxes: Tensor) -> Tensor:
    """Points [G, 2] of boxes [G, 4]."""
    if kind == "center":
        return (boxes[:, :2] + boxes[:, 2:]) / 2
    return boxes[:, :2] if kind == "top_left_corner" else boxes[:, 2:]


def _gather(maps: Tensor, index: Tensor) -> Tensor:
    """Vectors [N, K, C] of maps [N, C, H, W] at the points [N, K]."""
    return maps.flatten(2).gather(2, index[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2)
