"""Losses of label maps and depth maps against plain formulations, and pixels that must not count."""

import pytest
import torch
import torch.nn.functional as F

from foveal.errors import ConfigError
from foveal.heads.losses import CrossEntropyLoss, DiceLoss, FocalLoss, LovaszLoss, SiLogLoss
from foveal.heads.samplers import OHEMPixelSampler

N, K, H, W = 2, 4, 5, 6


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(N, K, H, W, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, K, (N, H, W), generator=generator)
    labels[0, :2] = 255
    return logits, labels


def test_dice_of_a_label_map(batch):
    logits, labels = batch
    probabilities = logits.softmax(1)
    losses = []
    for p, t in zip(probabilities, labels, strict=True):
        truth = torch.stack([t == c for c in range(K)]).double()
        losses.append(1 - 2 * (p * truth).sum() / ((p**2).sum() + truth.sum() + 2e-3))
    got = DiceLoss(use_sigmoid=False)(logits, labels, ignore_index=255)
    assert got == pytest.approx(float(sum(losses)) / N)
    # a channel among the classes is left out
    kept = [0, 2, 3]
    moved = torch.tensor([0, 3, 1, 2])[labels.where(labels < K, 1)].where(labels < K, 3)
    left = DiceLoss(activate=False)(probabilities[:, kept], moved)
    assert DiceLoss(activate=False, ignore_index=1)(probabilities, labels) == pytest.approx(float(left))


@pytest.mark.parametrize("alpha", [None, 0.3, [0.1, 0.2, 0.3, 0.4]])
def test_focal_of_a_label_map(batch, alpha):
    logits, labels = batch
    weights = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
    alphas = torch.tensor(0.5 if alpha is None else alpha, dtype=torch.float64).expand(K)
    total = 0.0
    for n, c, y, x in torch.cartesian_prod(*map(torch.arange, (N, K, H, W))).tolist():
        if labels[n, y, x] == 255:
            continue
        p = logits[n, c, y, x].sigmoid()
        positive = labels[n, y, x] == c
        right, factor = (p, alphas[c]) if positive else (1 - p, 1 - alphas[c])
        total += float(-factor * (1 - right) ** 2 * right.log() * weights[c])
    criterion = FocalLoss(alpha=alpha, class_weight=weights.tolist())
    assert criterion(logits, labels, ignore_index=255) == pytest.approx(total / logits.numel())
    assert criterion(logits, labels, reduction_override="none").shape == logits.shape


def test_lovasz_is_the_jaccard_loss_of_hard_predictions(batch):
    _, labels = batch
    labels = labels.where(labels < K, 0)
    guess = labels.roll(1, 2)
    hard = 60.0 * F.one_hot(guess, K).movedim(-1, 1).double()
    ious = [((guess == c) & (labels == c)).sum() / ((guess == c) | (labels == c)).sum() for c in range(K)]
    got = LovaszLoss(reduction="none")(hard, labels)
    assert got == pytest.approx(1 - float(sum(ious)) / K, abs=1e-6)
    binary = LovaszLoss("binary", reduction="none")
    assert binary(torch.full((1, 1, 2, 2), 3.0), torch.ones(1, 2, 2).long()) == 0


def test_lovasz_leaves_ignored_pixels_out(batch):
    logits, labels = batch
    images = [LovaszLoss(reduction="none")(logits[i : i + 1], labels[i : i + 1]) for i in range(N)]
    assert LovaszLoss(per_image=True)(logits, labels) == pytest.approx(float(sum(images)) / N)
    other = logits.clone()
    other[0, :, :2] = 9.0
    assert LovaszLoss(reduction="none")(other, labels) == LovaszLoss(reduction="none")(logits, labels)
    with pytest.raises(ConfigError, match="per_image"):
        LovaszLoss()


@pytest.mark.parametrize(
    "criterion",
    [
        CrossEntropyLoss(),
        CrossEntropyLoss(avg_non_ignore=True),
        CrossEntropyLoss(class_weight=[1.0, 2, 3, 4]),
        CrossEntropyLoss(use_sigmoid=True),
        DiceLoss(),
        FocalLoss(),
        LovaszLoss(reduction="none"),
        LovaszLoss(per_image=True),
    ],
    ids=lambda c: type(c).__name__,
)
def test_a_batch_that_is_all_ignored_costs_a_finite_amount(batch, criterion):
    logits = batch[0].requires_grad_()
    loss = criterion(logits, torch.full((N, H, W), 255), ignore_index=255)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("thresh", [None, 0.05])
def test_hard_pixels_are_those_of_the_highest_loss(batch, thresh):
    logits, labels = batch
    weight = OHEMPixelSampler(thresh, min_kept=7).sample(logits, labels, [CrossEntropyLoss()], 255)
    losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    assert weight.sum() == 14
    assert losses[weight > 0].min() > losses[weight == 0].max()
    assert (weight[labels == 255] == 0).all()
    many = OHEMPixelSampler(2.0, min_kept=7).sample(logits, labels, [], 255)
    assert torch.equal(many > 0, labels != 255)


def test_silog_forgives_a_common_factor_in_part():
    depth = torch.rand(2, 1, 4, 4, dtype=torch.float64) + 1
    depth[1, 0, :2] = 0
    assert SiLogLoss(variance_focus=1.0)(2 * depth, depth) == pytest.approx(0, abs=1e-6)
    assert SiLogLoss()(2 * depth, depth) == pytest.approx((0.5 * torch.log(torch.tensor(2.0)) ** 2).sqrt().item())
    unknown = torch.rand(2, 1, 4, 4, requires_grad=True)
    loss = SiLogLoss()(unknown, torch.zeros(2, 1, 4, 4))
    loss.backward()
    assert loss == 0
    assert unknown.grad.eq(0).all()
