"""Lovász losses, which descend on the IoU itself (Berman et al., CVPR 2018, arXiv:1705.08790)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS


@MODELS.register_module()
class LovaszLoss(nn.Module):
    """Lovász-softmax over classes or Lovász hinge of one, with mmseg's arguments.

    Args:
        loss_type: ``multi_class`` or ``binary``.
        classes: ``present`` averages over the classes that occur, ``all`` over all, a list over those.
        per_image: One loss an image, then reduced; else one over the batch.
        reduction: ``none``, ``mean`` or ``sum`` over the images; without ``per_image`` it must be ``none``.
        class_weight: One factor a class.
        loss_weight: Factor on the result.
        loss_name: Key of the loss in a decode head's dictionary.

    Raises:
        ConfigError: If ``loss_type`` is another word, or ``reduction`` reduces what is one number.

    Source: ``lovasz_loss.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        loss_type: str = "multi_class",
        classes: str | Sequence[int] = "present",
        per_image: bool = False,
        reduction: str = "mean",
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_lovasz",
    ) -> None:
        super().__init__()
        if loss_type not in ("multi_class", "binary"):
            raise ConfigError(f"LovaszLoss.loss_type must be multi_class or binary, got {loss_type!r}")
        if not per_image and reduction != "none":
            raise ConfigError(f"LovaszLoss.reduction must be 'none' without per_image, got {reduction!r}")
        self.binary = loss_type == "binary"
        self.classes = classes
        self.per_image = per_image
        self.reduction = reduction
        self.class_weight = class_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """Return the loss; 0 where every pixel is ignored.

        Args:
            cls_score: Logits [N, K, H, W]; binary form: [N, H, W] or [N, 1, H, W].
            label: int64 [N, H, W].
            weight: Without use here: a set has no weighted pixels.
            avg_factor: What ``mean`` divides the sum over images by.
            reduction_override: In place of ``reduction``.
            ignore_index: Label of pixels that are left out.

        Returns:
            A scalar; [N] for ``per_image`` with ``none``.
        """
        scores = cls_score.reshape(label.shape)[:, None] if self.binary else cls_score.softmax(1)
        step = 1 if self.per_image else len(label)
        groups = zip(scores.split(step), label.split(step), strict=True)
        losses = torch.stack([self._of_group(some, labels, ignore_index) for some, labels in groups])
        if not self.per_image:
            return self.loss_weight * losses[0]
        return self.loss_weight * reduce_loss(losses, None, reduction_override or self.reduction, avg_factor)

    def _of_group(self, scores: Tensor, label: Tensor, ignore_index: int | None) -> Tensor:
        kept = torch.ones_like(label, dtype=torch.bool) if ignore_index is None else label != ignore_index
        rows, label = scores.movedim(1, -1)[kept], label[kept]
        if not len(rows):
            return scores.sum() * 0
        if self.binary:
            signs = 2.0 * label.to(rows.dtype) - 1
            errors = 1 - rows[:, 0] * signs
            return _extension(errors, label.to(rows.dtype), errors.relu())
        channels = range(rows.shape[1]) if isinstance(self.classes, str) else self.classes
        losses = []
        for c in channels:
            found = (label == c).to(rows.dtype)
            if self.classes == "present" and not found.any():
                continue
            errors = (found - rows[:, c]).abs()
            factor = 1.0 if self.class_weight is None else self.class_weight[c]
            losses.append(factor * _extension(errors, found, errors))
        return torch.stack(losses).mean()


def _extension(ranks: Tensor, found: Tensor, errors: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss: errors [P], the largest first, times its growth with each of them."""
    order = ranks.detach().argsort(descending=True)
    found = found[order]
    total = found.sum()
    jaccard = 1 - (total - found.cumsum(0)) / (total + (1 - found).cumsum(0))
    return errors[order] @ jaccard.diff(prepend=jaccard.new_zeros(1))
