"""FCOS's head (Tian et al., ICCV 2019, arXiv:1904.01355)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import Scale
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.anchors import MlvlPointGenerator
from foveal.heads.detection.dense import (
    centerness_target,
    conv_tower,
    flatten_level,
    map_sizes,
    mean_over_ranks,
    pad_instances,
    precise,
)
from foveal.heads.detection.post_processing import detections
from foveal.registry import MODELS, TASK_UTILS
from foveal.structures.boxes import box_area

Options = dict[str, Any]

INF = 1e8
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, INF))
CODER = {"type": "DistancePointBBoxCoder"}
LOSS_CLS = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}
LOSS_BBOX = {"type": "IoULoss", "loss_weight": 1.0}
LOSS_CENTERNESS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
GN = {"type": "GN", "num_groups": 32, "requires_grad": True}
INIT = {
    "type": "Normal",
    "layer": "Conv2d",
    "std": 0.01,
    "override": {"type": "Normal", "name": "conv_cls", "std": 0.01, "bias_prob": 0.01},
}


@MODELS.register_module()
class FCOSHead(BaseModule):
    """Classes, distances to the box's sides and centerness of every point, without anchors.

    Arguments, defaults and keys (``cls_convs.i``, ``reg_convs.i``, ``conv_cls``, ``conv_reg``, ``conv_centerness``,
    ``scales.i.scale``) are those of mmdet 3.x.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        regress_ranges: For each level, the smallest and largest distance in pixels that its points are responsible for.
        center_sampling: Only points near a box's centre are positive.
        center_sample_radius: How near, in strides of the level.
        norm_on_bbox: Distances are learnt in strides and kept positive by ReLU, not by the exponential.
        centerness_on_reg: Centerness comes from the box tower, not from the class tower.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss, on boxes in pixels (with ``norm_on_bbox`` in strides).
        loss_centerness: Config of the centerness loss.
        norm_cfg: mmcv's norm config of the towers. None: none.
        init_cfg: mmengine's initialisation config.
        feat_channels: Channels of the towers.
        stacked_convs: Depth of the towers.
        strides: Pixels between the points, one a level.
        dcn_on_last_conv: Deformable convolution at the end of the towers; there is none yet: must be False.
        conv_bias: Bias in the towers; ``auto``: only without a norm.
        bbox_coder: Config of how boxes are written as distances.
        conv_cfg: mmcv's convolution config of the towers. None: Conv2d.
        train_cfg: Taken for mmdet's configs; nothing in it concerns this head.
        test_cfg: mmdet's, see `detections`. None: cannot predict.

    Raises:
        ConfigError: If ``regress_ranges`` and ``strides`` differ in length, or ``dcn_on_last_conv`` is set.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[Sequence[float]] = RANGES,
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        norm_on_bbox: bool = False,
        centerness_on_reg: bool = False,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        loss_centerness: Options = LOSS_CENTERNESS,
        norm_cfg: Options | None = GN,
        init_cfg: Options | list[Options] | None = INIT,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = "auto",
        bbox_coder: Options = CODER,
        conv_cfg: Options | None = None,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(regress_ranges) != len(strides):
            raise ConfigError(f"FCOSHead has {len(strides)} strides but {len(regress_ranges)} regress_ranges")
        if dcn_on_last_conv:
            raise ConfigError("FCOSHead has no deformable convolution: dcn_on_last_conv must be False")
        self.num_classes = num_classes
        self.regress_ranges = [tuple(pair) for pair in regress_ranges]
        self.center_sampling = center_sampling
        self.center_sample_radius = center_sample_radius
        self.norm_on_bbox = norm_on_bbox
        self.centerness_on_reg = centerness_on_reg
        self.strides = list(strides)
        self.test_cfg = test_cfg
        self.prior_generator = MlvlPointGenerator(strides)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_centerness = MODELS.build(loss_centerness)

        self.cls_convs = conv_tower(in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg, conv_bias)
        self.reg_convs = conv_tower(in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg, conv_bias)
        width = feat_channels if stacked_convs else in_channels
        self.conv_cls = nn.Conv2d(width, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(width, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(width, 1, 3, padding=1)
        self.scales = nn.ModuleList([Scale(1.0) for _ in self.strides])

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Class logits [N, C, H_l, W_l], distances [N, 4, H_l, W_l] (left, top, right, bottom; in pixels, but in
            strides while training with ``norm_on_bbox``) and centerness logits [N, 1, H_l, W_l], a list each.

        Raises:
            ConfigError: If the number of maps is another than that of the strides.
        """
        return self._outputs(*self.tower_feats(feats), pixels=not self.training)

    def tower_feats(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what the towers make of the maps: features for classes and for boxes, [N, feat_channels, H_l, W_l].

        Raises:
            ConfigError: If the number of maps is another than that of the strides.
        """
        if len(feats) != len(self.strides):
            raise ConfigError(f"FCOSHead has {len(self.strides)} strides, but got {len(feats)} feature maps")
        return [self.cls_convs(x) for x in feats], [self.reg_convs(x) for x in feats]

    def outputs(
        self, cls_feats: list[Tensor], reg_feats: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the raw outputs as `forward` does, from the towers' features."""
        return self._outputs(cls_feats, reg_feats, pixels=not self.training)

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances``.

        Returns:
            The scalars ``loss_cls``, ``loss_bbox`` and ``loss_centerness``.
        """
        return self.loss_from(*self.tower_feats(feats), data_samples)

    def loss_from(
        self, cls_feats: list[Tensor], reg_feats: list[Tensor], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, Tensor]:
        """Return the losses as `loss` does, from the towers' features."""
        maps = self._outputs(cls_feats, reg_feats, pixels=False)
        logits, distances, centerness = (
            torch.cat([flatten_level(x, channels) for x in level_maps], dim=1)
            for level_maps, channels in zip(maps, (self.num_classes, 4, 1), strict=True)
        )
        sizes = map_sizes(maps[0])
        points = self.prior_generator.grid_priors(sizes, distances.dtype, distances.device, with_stride=True)
        labels, goals = self._targets(points, data_samples)
        positive = labels < self.num_classes
        weights = positive.to(distances.dtype)
        num_pos = mean_over_ranks(weights.sum()).clamp(min=1)
        # outside of boxes both sides become a box of size 1, so that weight 0 never meets infinity
        goals = goals.where(positive[..., None], 1)
        distances = distances.where(positive[..., None], 1)
        center_goals = centerness_target(goals)
        center_sum = mean_over_ranks((center_goals * weights).sum()).clamp(min=1e-6)
        centers = torch.cat(points)[:, :2].expand(len(labels), -1, -1)
        return {
            "loss_cls": self.loss_cls(logits.flatten(0, 1), labels.flatten(), avg_factor=num_pos),
            "loss_bbox": self.loss_bbox(
                self.bbox_coder.decode(centers, distances).flatten(0, 1),
                self.bbox_coder.decode(centers, goals).flatten(0, 1),
                weight=(center_goals * weights).flatten(),
                avg_factor=center_sum,
            ),
            "loss_centerness": self.loss_centerness(
                centerness.flatten(), center_goals.flatten(), weight=weights.flatten(), avg_factor=num_pos
            ),
        }

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
        maps = self._outputs(cls_feats, reg_feats, pixels=True)
        scores = [flatten_level(x, self.num_classes).sigmoid() for x in maps[0]]
        distances = [flatten_level(x, 4) for x in maps[1]]
        factors = [flatten_level(x, 1)[..., 0].sigmoid() for x in maps[2]]
        points = self.prior_generator.grid_priors(map_sizes(maps[0]), distances[0].dtype, distances[0].device)
        metas = [sample.metainfo for sample in data_samples]
        return detections(scores, distances, points, self.bbox_coder.decode, metas, self.test_cfg, rescale, factors)

    def _outputs(
        self, cls_feats: list[Tensor], reg_feats: list[Tensor], pixels: bool
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        levels = zip(reg_feats, self.scales, self.strides, strict=True)
        scores = [self.conv_cls(x) for x in cls_feats]
        distances = [self._distances(x, scale, stride, pixels) for x, scale, stride in levels]
        sources = reg_feats if self.centerness_on_reg else cls_feats
        return scores, distances, [self.conv_centerness(x) for x in sources]

    def _distances(self, reg_feat: Tensor, scale: nn.Module, stride: int, pixels: bool) -> Tensor:
        # the exponential leaves half precision's range
        distances = precise(scale(self.conv_reg(reg_feat)))
        if self.norm_on_bbox:
            return distances.clamp(min=0) * (stride if pixels else 1)
        return distances.exp()

    @torch.no_grad()
    def _targets(self, points: list[Tensor], samples: Sequence[BaseDataElement]) -> tuple[Tensor, Tensor]:
        """Labels [N, P], C where background, and distances [N, P, 4] to the smallest box that a point may learn."""
        counts = [len(level) for level in points]
        places = torch.cat(points)
        boxes, labels = pad_instances(samples, places.dtype)
        distances = self.bbox_coder.encode(places[:, None, :2], boxes[:, None])  # [N, P, G, 4]
        # an absent box is [0, 0, 0, 0]: no point lies inside
        if self.center_sampling:
            inside = self._near_center(places, boxes)
        else:
            inside = distances.amin(-1) > 0
        least, most = (
            torch.cat([places.new_full((n, 1), r[end]) for r, n in zip(self.regress_ranges, counts, strict=True)])
            for end in (0, 1)
        )
        reach = distances.amax(-1)
        allowed = inside & (reach >= least) & (reach <= most)
        area, which = box_area(boxes)[:, None].where(allowed, INF).min(-1)  # [N, P]
        labels = labels.gather(1, which).where(area < INF, self.num_classes)
        goals = distances.gather(2, which[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
        return labels, goals / places[:, 2:].repeat(1, 2) if self.norm_on_bbox else goals

    def _near_center(self, places: Tensor, boxes: Tensor) -> Tensor:
        """Bool [N, P, G]: the point [P, 4] (x, y, stride) lies in the middle part of the box [N, G, 4]."""
        reach = self.center_sample_radius * places[:, None, 2:]
        center = (boxes[..., :2] + boxes[..., 2:])[:, None] * 0.5
        low = torch.maximum(center - reach, boxes[:, None, :, :2])
        high = torch.minimum(center + reach, boxes[:, None, :, 2:])
        place = places[:, None, :2]
        return torch.minimum(place - low, high - place).amin(-1) > 0
