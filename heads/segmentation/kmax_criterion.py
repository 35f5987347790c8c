"""kMaX-DeepLab's losses, which are those of MaX-DeepLab (Wang et al., CVPR 2021, arXiv:2012.00759, section 3.2).

The order of operations and the constants are those of ``criterion.py`` and ``matcher.py`` of bytedance/kmax-deeplab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from foveal.heads.segmentation.kmax_transformer import Prediction, at_size

EPS = 1e-5
FLOOR = 1e-5  # what an unmatched query's class counts at least
FOCAL_ALPHA = 0.75
INSTANCE_TEMPERATURE = 0.3
VOID = -99999.0
WEIGHTS = {"loss_cls": 3.0, "loss_mask": 0.3, "loss_dice": 3.0, "loss_pixel_insdis": 1.0}


class Targets(NamedTuple):
    """What the Q queries of N images should say.

    Args:
        masks: [N, Q, h, w]; a pixel's sum over the queries is 1 or, where nothing is known, 0.
        labels: int64 [N, Q], K where a query is not matched.
        mask_weight: [N, Q], how well the class fits.
        class_weight: [N, Q], how well the mask fits.
        void: bool [N, h, w], pixels of which nothing is known.
        rarity: [N, h, w], the image's area over that of the pixel's segment.
    """

    masks: Tensor
    labels: Tensor
    mask_weight: Tensor
    class_weight: Tensor
    void: Tensor
    rarity: Tensor


def losses(
    predictions: Sequence[Prediction], semantic: Tensor, truths: Sequence[InstanceData], k: int
) -> dict[str, Tensor]:
    """Return all losses, weighted; those of earlier predictions begin with ``d0.`` and so on.

    Args:
        predictions: Of each layer; the matching of the last one serves all.
        semantic: Logits [N, K + 1, h, w] at the size of the last masks.
        truths: ``labels`` [G] and ``masks`` [G, h, w] of N images, at that size.
        k: Pixels that are drawn for the two losses on samples.
    """
    last = predictions[-1]
    targets = match(last, truths)
    found = {name: WEIGHTS[name] * value for name, value in _mask_losses(last, targets, k).items()}
    found["loss_semantic"] = semantic_loss(semantic, semantic_truth(truths, semantic.shape[1] - 1), targets, k)
    for i, earlier in enumerate(predictions[:-1]):
        small = at_size(earlier, last.mask_logits.shape[2:])
        found |= {f"d{i}.{name}": WEIGHTS[name] * value for name, value in _mask_losses(small, targets, k).items()}
    return found


@torch.no_grad()
def match(prediction: Prediction, truths: Sequence[InstanceData]) -> Targets:
    """Assign segments to queries by likeness of mask times probability of class.

    Args:
        prediction: Of N images.
        truths: As for `losses`; an image may have none.
    """
    logits, scores = prediction.mask_logits, prediction.class_logits
    probability = logits.softmax(1)
    masks = torch.zeros_like(logits)
    labels = scores.new_full(scores.shape[:2], scores.shape[2] - 1, dtype=torch.int64)
    mask_weight, likeness = logits.new_zeros(scores.shape[:2]), logits.new_zeros(scores.shape[:2])
    matched = torch.zeros_like(labels, dtype=torch.bool)
    for i, truth in enumerate(truths):
        wanted = truth.masks.to(logits.dtype).flatten(1)
        known = wanted.sum(0) > 0
        inside = probability[i].flatten(1) * known
        dice = inside @ wanted.T / ((inside.sum(1)[:, None] + wanted.sum(1)) / 2 + EPS)
        sureness = scores[i].softmax(-1)[:, truth.labels]
        rows, columns = (
            torch.as_tensor(side, device=logits.device) for side in linear_sum_assignment(-(dice * sureness).cpu())
        )
        masks[i, rows] = truth.masks[columns].to(logits.dtype)
        labels[i, rows] = truth.labels[columns]
        mask_weight[i, rows] = sureness[rows, columns].clamp(min=FLOOR)
        likeness[i, rows] = dice[rows, columns]
        matched[i, rows] = True
    masks = masks / masks.sum(1, keepdim=True).clamp(min=1)  # segments may overlap
    void = masks.sum(1) < 1
    area = torch.einsum("bnhw,bn->bhw", masks, masks.sum((2, 3)))
    rarity = void[0].numel() / area.clamp(min=1)
    # a query that nothing is matched to counts as far as it covers unknown pixels
    lost = torch.einsum("bnhw,bhw->bn", probability, void.to(logits.dtype)) / (probability.sum((2, 3)) + EPS)
    return Targets(masks, labels, mask_weight, torch.where(matched, likeness, lost).clamp(min=FLOOR), void, rarity)


def semantic_truth(truths: Sequence[InstanceData], num_classes: int) -> Tensor:
    """Return labels int64 [N, h, w], ``num_classes`` where there is no segment."""
    maps = []
    for truth in truths:
        some = truth.masks.new_zeros(1, *truth.masks.shape[1:])
        owner = torch.cat((truth.masks, ~some)).int().argmax(0)
        maps.append(torch.cat((truth.labels, truth.labels.new_tensor([num_classes])))[owner])
    return torch.stack(maps)


def _mask_losses(prediction: Prediction, targets: Targets, k: int) -> dict[str, Tensor]:
    return {
        "loss_cls": class_loss(prediction.class_logits, targets),
        "loss_mask": mask_loss(prediction.mask_logits, targets),
        "loss_dice": dice_loss(prediction.mask_logits, targets),
        "loss_pixel_insdis": pixel_loss(prediction.pixel_feature, targets, k),
    }


def class_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy of the classes [N, Q, K + 1], by how well the mask fits; "nothing" counts a third."""
    loss = F.cross_entropy(logits.transpose(1, 2), targets.labels, reduction="none")
    nothing = targets.labels == logits.shape[2] - 1
    return mean_of_some(loss * torch.where(nothing, 1 - FOCAL_ALPHA, FOCAL_ALPHA) * targets.class_weight)


def mask_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy of each pixel's choice among the queries, mask logits [N, Q, h, w]."""
    loss = F.cross_entropy(logits, targets.masks, reduction="none").masked_fill(targets.void, 0)
    return mean_of_some(loss.flatten(1))


def dice_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Dice loss of the masks [N, Q, h, w], by how well the class fits."""
    inputs = logits.softmax(1).masked_fill(targets.void.unsqueeze(1), 0).flatten(2)
    wanted = targets.masks.flatten(2)
    overlap = 2 * (inputs * wanted).sum(2) + 1
    loss = (1 - overlap / (inputs.sum(2) + wanted.sum(2) + 1)) * targets.mask_weight
    return (loss.sum(1) * FOCAL_ALPHA / loss.shape[1]).mean()


def pixel_loss(features: Tensor, targets: Targets, k: int) -> Tensor:
    """Contrast pixels [N, C, h, w] of one segment with those of others, on samples."""
    index = draw(targets, 1.5, k)
    wanted = targets.masks.flatten(2).gather(2, index.unsqueeze(1).expand(-1, targets.masks.shape[1], -1))
    alike = wanted.transpose(1, 2) @ wanted
    alike = alike / alike.sum(1, keepdim=True).clamp(min=1)
    chosen = features.flatten(2).gather(2, index.unsqueeze(1).expand(-1, features.shape[1], -1))
    found = chosen.transpose(1, 2) @ chosen / INSTANCE_TEMPERATURE
    return mean_of_some(F.cross_entropy(found, alike, reduction="none"))


def semantic_loss(logits: Tensor, labels: Tensor, targets: Targets, k: int) -> Tensor:
    """Cross-entropy of semantic logits [N, K + 1, h, w] with labels [N, h, w], on samples; label K does not count."""
    index = draw(targets, 2.0, k)
    nothing = logits.shape[1] - 1
    labels = labels.flatten(1).gather(1, index)
    chosen = logits.flatten(2).gather(2, index.unsqueeze(1).expand(-1, logits.shape[1], -1))
    return mean_of_some(F.cross_entropy(chosen, labels, ignore_index=nothing, reduction="none"))


def draw(targets: Targets, temperature: float, k: int) -> Tensor:
    """Draw at most ``k`` pixels of each image, int64 [N, k], rare segments more often, without repetition."""
    logits = targets.rarity.flatten(1).log() * temperature
    logits = logits + targets.void.flatten(1).to(logits) * VOID
    noise = -(-torch.rand_like(logits).log()).log()
    return (logits + noise).topk(min(k, logits.shape[1])).indices


def mean_of_some(loss: Tensor) -> Tensor:
    """Mean over the images of the mean of what is not zero, of losses [N, L]."""
    return (loss.sum(1) / (loss != 0).sum(1).clamp(min=1)).mean()
