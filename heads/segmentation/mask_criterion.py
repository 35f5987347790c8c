"""Losses between a set of predicted masks and the true ones, at some points only (Mask2Former, arXiv:2112.01527)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.assigners.hungarian_assigner import Match
from foveal.heads.detection.dense import mean_over_ranks, precise
from foveal.heads.samplers.pseudo_sampler import PseudoSampler
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]
Metas = Sequence[Mapping[str, Any]]

LOSSES = ("loss_cls", "loss_mask", "loss_dice")


class MaskCriterion(nn.Module):
    """Matching and the three losses of Mask2Former, as mmdet's head computes them.

    Random points are drawn in the official order, so that one seed gives the official losses.

    Args:
        loss_cls: Config of `CrossEntropyLoss`; its last ``class_weight`` is that of queries without an object.
        loss_mask: Config of the loss of points, a binary one.
        loss_dice: Config of the loss of whole masks.
        train_cfg: ``assigner``; ``num_points`` (default 12544) a mask; ``oversample_ratio`` (3) times as many are
            drawn, of which the most uncertain ones make up ``importance_sample_ratio`` (0.75) of the points;
            ``sampler``, which can only be ``MaskPseudoSampler``. None: the head cannot be trained.

    Raises:
        ConfigError: If ``train_cfg`` has another sampler, or ratios that cannot be.

    Source: ``mask2former_head.py`` and ``point_sample.py`` of open-mmlab/mmdetection.
    """

    def __init__(self, loss_cls: Options, loss_mask: Options, loss_dice: Options, train_cfg: Options | None) -> None:
        super().__init__()
        self.loss_cls: Any = MODELS.build(loss_cls)
        self.loss_mask: Any = MODELS.build(loss_mask)
        self.loss_dice: Any = MODELS.build(loss_dice)
        cfg = train_cfg or {}
        self.assigner: Any = TASK_UTILS.build(cfg["assigner"]) if train_cfg else None
        self.num_points: int = cfg.get("num_points", 12544)
        self.oversample_ratio: float = cfg.get("oversample_ratio", 3.0)
        self.importance_sample_ratio: float = cfg.get("importance_sample_ratio", 0.75)
        sampler = cfg.get("sampler")
        if sampler is not None and not isinstance(TASK_UTILS.build(sampler), PseudoSampler):
            raise ConfigError(f"Mask2FormerHead.train_cfg.sampler must be MaskPseudoSampler, got {sampler['type']}")
        if self.oversample_ratio < 1 or not 0 <= self.importance_sample_ratio <= 1:
            raise ConfigError(
                "Mask2FormerHead.train_cfg needs oversample_ratio from 1 on and importance_sample_ratio from 0 to 1, "
                f"got {self.oversample_ratio} and {self.importance_sample_ratio}"
            )

    def layers(
        self, scores: Sequence[Tensor], masks: Sequence[Tensor], truths: Sequence[InstanceData], metas: Metas
    ) -> dict[str, Tensor]:
        """Return the losses of every prediction: ``loss_cls`` … of the last one, ``d0.loss_cls`` … of the others.

        Args:
            scores: Logits [N, Q, K + 1] of each decoder layer, the last class being "no object".
            masks: Logits [N, Q, h, w] of each.
            truths: N images' ``labels`` int64 [G] and ``masks`` bool [G, H, W].
            metas: N images' metainfo.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        if self.assigner is None:
            raise ConfigError("Mask2FormerHead has no train_cfg: training needs its assigner")
        values = [self(precise(s), precise(m), truths, metas) for s, m in zip(scores, masks, strict=True)]
        places = ["", *(f"d{i}." for i in range(len(values) - 1))]
        ordered = [values[-1], *values[:-1]]
        return {
            f"{place}{name}": value
            for place, losses in zip(places, ordered, strict=True)
            for name, value in zip(LOSSES, losses, strict=True)
        }

    def forward(
        self, scores: Tensor, masks: Tensor, truths: Sequence[InstanceData], metas: Metas
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss of classes, points and masks of one layer; arguments as in `layers`."""
        matches = self._match(scores, masks, truths, metas)
        pairs = list(zip(truths, matches, strict=True))
        image = torch.cat([torch.full_like(query, i) for i, (query, _) in enumerate(matches)])
        query = torch.cat([query for query, _ in matches])
        labels = torch.full(scores.shape[:2], scores.shape[-1] - 1, dtype=torch.long, device=scores.device)
        labels[image, query] = torch.cat([truth.labels[which] for truth, (_, which) in pairs])
        labels = labels.flatten()
        total: float | Tensor = len(labels)
        if self.loss_cls.class_weight is not None:
            total = scores.new_tensor(self.loss_cls.class_weight)[labels].sum()
        loss_cls = self.loss_cls(scores.flatten(0, 1), labels, avg_factor=total)

        found = masks[image, query]
        # an image without objects counts as one, and all processes take part in the mean
        count = float(sum(max(len(query), 1) for query, _ in matches))
        objects = mean_over_ranks(masks.new_tensor(count)).clamp(min=1)
        if not len(found):
            return loss_cls, found.sum(), found.sum()
        with torch.no_grad():
            points = self.uncertain_points(found)
            truth_masks = torch.cat([truth.masks[which] for truth, (_, which) in pairs])
            targets = sample_points(truth_masks[:, None].to(found.dtype), points)[:, 0]
        logits = sample_points(found[:, None], points)[:, 0]
        loss_dice = self.loss_dice(logits, targets, avg_factor=objects)
        loss_mask = self.loss_mask(logits.flatten(), targets.flatten(), avg_factor=objects * self.num_points)
        return loss_cls, loss_mask, loss_dice

    @torch.no_grad()
    def _match(self, scores: Tensor, masks: Tensor, truths: Sequence[InstanceData], metas: Metas) -> list[Match]:
        """Match the queries of each image with its objects, by the values at random points."""
        problems = []
        for score, mask, truth, meta in zip(scores, masks, truths, metas, strict=True):
            points = torch.rand(1, self.num_points, 2, dtype=masks.dtype, device=masks.device)
            values = sample_points(mask[None], points)[0]
            wanted = sample_points(truth.masks[None].to(masks.dtype), points)[0]
            pred = InstanceData(scores=score, masks=values)
            problems.append((pred, InstanceData(labels=truth.labels, masks=wanted), meta))
        # sums over all points would overflow in half precision
        with torch.autocast(masks.device.type, enabled=False):
            return self.assigner.assign(problems)

    @torch.no_grad()
    def uncertain_points(self, masks: Tensor) -> Tensor:
        """Choose points near the masks' borders, and some anywhere (PointRend, arXiv:1912.08193).

        Args:
            masks: Logits [M, h, w].

        Returns:
            Shares of width and height, (x, y), [M, num_points, 2].
        """
        options: Options = {"dtype": masks.dtype, "device": masks.device}
        count = len(masks)
        points = torch.rand(count, int(self.num_points * self.oversample_ratio), 2, **options)
        certainty = sample_points(masks[:, None], points)[:, 0].abs()
        uncertain = int(self.importance_sample_ratio * self.num_points)
        best = (-certainty).topk(uncertain, dim=1).indices
        points = points.gather(1, best[..., None].expand(-1, -1, 2))
        if uncertain == self.num_points:
            return points
        return torch.cat((points, torch.rand(count, self.num_points - uncertain, 2, **options)), dim=1)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps at points, bilinearly; zero outside.

    Args:
        maps: [N, C, h, w].
        points: Shares of width and height, (x, y), [N, P, 2].

    Returns:
        [N, C, P].
    """
    if not maps.shape[1]:
        return maps.new_zeros(len(maps), 0, points.shape[1])
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]
