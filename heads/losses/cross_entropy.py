"""Cross-entropy for boxes, masks and label maps: one class under the name that mmdet and mmseg share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.losses.reduce import reduce_loss
from foveal.registry import MODELS

_NEVER = -100  # torch's own default: a label that no data set uses


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Softmax, sigmoid or mask cross-entropy, as in mmdet 3.x and mmseg 1.x.

    Args:
        use_sigmoid: One binary problem a channel in place of a softmax over the channels.
        use_mask: Binary cross-entropy of each object's mask in the channel of its class (Mask R-CNN).
        reduction: ``mean``, ``sum`` or ``none``.
        class_weight: One factor a class. With ``mean`` the softmax form then divides by the sum of the labels' weights.
        ignore_index: Label that neither costs nor is learnt. None: heads pass theirs, else none is ignored.
        loss_weight: Factor of the result.
        avg_non_ignore: Divide ``mean`` by the number of labels that count, not by all.
        loss_name: Key of the loss in a decode head's dictionary.

    Raises:
        ConfigError: If ``use_sigmoid`` and ``use_mask`` are both set.

    Source: ``cross_entropy_loss.py`` of open-mmlab/mmdetection and open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = "mean",
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
        loss_name: str = "loss_ce",
    ) -> None:
        super().__init__()
        if use_sigmoid and use_mask:
            raise ConfigError("CrossEntropyLoss takes use_sigmoid or use_mask, not both")
        self.use_sigmoid = use_sigmoid
        self.use_mask = use_mask
        self.reduction = reduction
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        self.loss_weight = loss_weight
        self.avg_non_ignore = avg_non_ignore
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Return the loss of ``cls_score``.

        Args:
            cls_score: Logits [N, C] or [N, C, H, W]; sigmoid and mask forms take more shapes, below.
            label: int64 [N] or [N, H, W]. Sigmoid form: the same, or 0/1 in the shape of ``cls_score``. In [N, C]
                label c means channel c, and C or more means background; in [N, 1, H, W] label 1 is the object.
                Mask form: target masks [N, H, W] for ``cls_score`` [N, C, H, W].
            weight: Factor of every label, in the shape of ``label`` or of the loss. Mask form: the objects' classes,
                int64 [N].
            avg_factor: What ``mean`` divides by.
            reduction_override: In place of ``reduction``.
            ignore_index: In place of the constructor's.

        Returns:
            A scalar; the loss's own shape for ``none``; [1] for the mask form.
        """
        reduction = reduction_override or self.reduction
        ignore = next(i for i in (ignore_index, self.ignore_index, _NEVER) if i is not None)
        classes = None if self.class_weight is None else cls_score.new_tensor(self.class_weight)
        if self.use_mask:
            return self.loss_weight * mask_cross_entropy(cls_score, label, weight, classes)
        form = binary_cross_entropy if self.use_sigmoid else cross_entropy
        loss = form(cls_score, label, weight, reduction, avg_factor, classes, ignore, self.avg_non_ignore)
        return self.loss_weight * loss


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int = _NEVER,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Softmax cross-entropy.

    Args:
        logits: [N, C, …].
        label: int64 [N, …].
        weight: Of ``label``'s shape.
        reduction: ``mean``, ``sum`` or ``none``.
        avg_factor: What ``mean`` divides by.
        class_weight: [C].
        ignore_index: Label that costs nothing.
        avg_non_ignore: ``mean`` counts only the labels that are not ignored.

    Returns:
        A scalar, or [N, …] for ``none``.
    """
    loss = F.cross_entropy(logits, label, class_weight, ignore_index=ignore_index, reduction="none")
    if avg_factor is None and reduction == "mean":
        if class_weight is not None:
            valid = label != ignore_index
            avg_factor = torch.where(valid, class_weight[label.where(valid, 0)], 0).sum()
        elif avg_non_ignore:
            avg_factor = (label != ignore_index).sum()
    return reduce_loss(loss, _like(weight, logits), reduction, avg_factor)


def binary_cross_entropy(
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int = _NEVER,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Sigmoid cross-entropy of every channel.

    Args:
        logits: [N, C], [N, C, H, W], or any shape that ``label`` shares.
        label: int64 [N] or [N, H, W], written out one-hot; or 0/1 as ``logits``. Negatives are ignored.
        weight: Of ``label``'s shape.
        reduction: ``mean``, ``sum`` or ``none``.
        avg_factor: What ``mean`` divides by.
        class_weight: [C], the factor of the positive term.
        ignore_index: Label that costs nothing.
        avg_non_ignore: ``mean`` counts only the elements that are not ignored.

    Returns:
        A scalar, or the shape of ``logits`` for ``none`` ([N, H, W] where C is 1 there).
    """
    if logits.ndim == 4 and logits.shape[1] == 1 and label.ndim == 3:
        logits = logits.squeeze(1)
    valid = (label >= 0) & (label != ignore_index)
    if logits.ndim != label.ndim:
        label = _one_hot(label, valid, logits.shape[1])
        valid = valid.unsqueeze(1).expand_as(logits)
        weight = None if weight is None else weight.unsqueeze(1)
    if class_weight is not None and logits.ndim == 4:
        class_weight = class_weight.view(-1, 1, 1)
    mask = valid.to(logits.dtype)
    if avg_factor is None and avg_non_ignore and reduction == "mean":
        avg_factor = mask.sum()
    target = label.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=class_weight, reduction="none")
    return reduce_loss(loss, mask if weight is None else mask * weight, reduction, avg_factor)


def mask_cross_entropy(
    logits: Tensor, target: Tensor, label: Tensor | None, class_weight: Tensor | None = None
) -> Tensor:
    """Sigmoid cross-entropy of N objects' masks, each in the channel of its class.

    Args:
        logits: [N, C, H, W]; C may be 1 with all labels 0 (class-agnostic masks).
        target: 0 to 1, [N, H, W].
        label: int64 [N].
        class_weight: Broadcastable to [N, H, W].

    Returns:
        [1], the mean over objects and pixels; zero where there is no object.

    Raises:
        ValueError: If ``label`` is None.
    """
    if label is None:
        raise ValueError("CrossEntropyLoss(use_mask=True) needs the objects' classes as third argument")
    if not len(logits):
        return logits.sum()[None]
    chosen = logits[torch.arange(len(logits), device=logits.device), label]
    return F.binary_cross_entropy_with_logits(chosen, target.to(logits.dtype), weight=class_weight)[None]


def _one_hot(label: Tensor, valid: Tensor, channels: int) -> Tensor:
    """Write [N, …] labels out as 0/1 of [N, channels, …]; labels from ``channels`` on are background."""
    positive = valid & (label < channels)
    shape = (label.shape[0], channels, *label.shape[1:])
    index = label.where(positive, 0).unsqueeze(1)
    return label.new_zeros(shape).scatter_(1, index, positive.unsqueeze(1).to(label.dtype))


def _like(weight: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(logits.dtype)
