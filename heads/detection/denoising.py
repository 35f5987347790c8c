"""Queries made from noisy truth, which teach a decoder to clean boxes up (DINO, arXiv:2203.03605)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_convert

from foveal.layers.transformer import inverse_sigmoid

Options = dict[str, Any]


class CdnQueryGenerator(nn.Module):
    """Contrastive denoising: each true box gives, in each group, a query near it and one farther off; mmdet's key.

    Args:
        num_classes: C.
        embed_dims: Channels of the queries.
        label_noise_scale: Twice the share of classes that are drawn anew.
        box_noise_scale: Largest shift of a side, in halves of the box's size; the farther queries' shifts lie between
            one and two times this.
        group_cfg: ``num_dn_queries`` (default 100) bounds the boxes of all groups, or with ``dynamic=False``
            ``num_groups`` is the number of groups.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        label_noise_scale: float = 0.5,
        box_noise_scale: float = 1.0,
        group_cfg: Options | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.label_noise_scale = label_noise_scale
        self.box_noise_scale = box_noise_scale
        group_cfg = group_cfg or {}
        self.num_groups = None if group_cfg.get("dynamic", True) else group_cfg["num_groups"]
        self.num_dn_queries = group_cfg.get("num_dn_queries", 100)
        self.label_embedding = nn.Embedding(num_classes, embed_dims)

    def forward(self, samples: Sequence[Any], num_queries: int) -> tuple[Tensor, Tensor, Tensor, int, int]:
        """Make the queries of a batch.

        Args:
            samples: N images with ``gt_instances`` and ``img_shape``; G is the largest number of true boxes.
            num_queries: Queries that come after these.

        Returns:
            Queries [N, D, C], their boxes' logits [N, D, 4] with D = groups * 2 * G, what no query may look at
            [D + num_queries, D + num_queries], the number of groups and the queries of one.
        """
        truths = [x.gt_instances for x in samples]
        width = self.label_embedding.weight
        sizes = width.new_tensor([[w, h, w, h] for h, w in (x.img_shape[:2] for x in samples)])
        boxes = pad_sequence([x.bboxes.to(width) for x in truths], batch_first=True) / sizes[:, None]
        labels = pad_sequence([x.labels for x in truths], batch_first=True)
        count = labels.shape[1]
        groups = self.num_groups or max(1, self.num_dn_queries // max(1, count))
        there = pad_sequence([torch.ones_like(x.labels, dtype=torch.bool) for x in truths], batch_first=True)
        labels, there = (x[:, None, None].expand(-1, groups, 2, -1).flatten(1) for x in (labels, there))
        boxes = boxes[:, None, None].expand(-1, groups, 2, -1, -1)
        new = torch.rand(labels.shape, device=labels.device) < self.label_noise_scale * 0.5
        labels = torch.where(new, torch.randint_like(labels, self.num_classes), labels)
        noise = torch.rand_like(boxes)
        noise = noise + torch.arange(2, device=noise.device).view(2, 1, 1)  # the second of each pair is far off
        noise = noise * (torch.randint_like(boxes, 2) * 2 - 1)
        extent = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 1, 1, 2)
        boxes = (boxes + noise * extent * self.box_noise_scale / 2).clamp(0, 1).flatten(1, 3)
        logits = inverse_sigmoid(box_convert(boxes, "xyxy", "cxcywh"), eps=1e-3)
        # images with fewer objects are filled with zeros, which belong to no class
        queries = self.label_embedding(labels) * there[..., None]
        return queries, logits * there[..., None], self._mask(groups, 2 * count, num_queries), groups, 2 * count

    def _mask(self, groups: int, size: int, num_queries: int) -> Tensor:
        """True where a query must not look: at another group, and from the detecting queries at any group."""
        device = self.label_embedding.weight.device
        group = torch.arange(groups, device=device).repeat_interleave(size)
        group = torch.cat((group, group.new_full((num_queries,), -1)))
        return (group[None, :] != group[:, None]) & (group[None, :] >= 0)
