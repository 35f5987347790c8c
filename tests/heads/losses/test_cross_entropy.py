"""Cross-entropy against element-by-element formulations."""

import math

import pytest
import torch

from foveal.errors import ConfigError
from foveal.heads.losses.accuracy import accuracy
from foveal.heads.losses.cross_entropy import CrossEntropyLoss
from foveal.registry import MODELS

F64 = torch.float64


def slow_softmax(logits, label, ignore):
    """Per-label loss by the definition, zero where ignored."""
    out = torch.zeros(label.shape, dtype=F64)
    for index in torch.cartesian_prod(*[torch.arange(s) for s in label.shape]).reshape(-1, label.ndim).tolist():
        want = int(label[tuple(index)])
        if want != ignore:
            column = logits[(index[0], slice(None), *index[1:])]
            out[tuple(index)] = -math.log(math.exp(column[want]) / sum(math.exp(v) for v in column))
    return out


def slow_sigmoid(logits, target):
    p = 1 / (1 + torch.exp(-logits))
    return -(target * p.log() + (1 - target) * (1 - p).log())


@pytest.mark.parametrize("space", [(), (3, 4)])
@pytest.mark.parametrize("avg_non_ignore", [False, True])
@pytest.mark.parametrize("avg_factor", [None, 7.0])
def test_softmax(space, avg_non_ignore, avg_factor):
    logits = torch.randn(4, 5, *space, dtype=F64)
    label = torch.randint(0, 5, (4, *space))
    label[0] = 255
    weight = torch.rand(4, *space)
    loss = CrossEntropyLoss(avg_non_ignore=avg_non_ignore, loss_weight=0.5)
    got = loss(logits, label, weight, avg_factor, ignore_index=255)
    count = (label != 255).sum() if avg_non_ignore else label.numel()
    want = 0.5 * (slow_softmax(logits, label, 255) * weight).sum() / (avg_factor or count)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)


def test_softmax_with_class_weights_equals_torch():
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    label[0, 0] = 255
    weights = [0.2, 1.0, 3.0]
    got = CrossEntropyLoss(class_weight=weights, ignore_index=255)(logits, label)
    want = torch.nn.functional.cross_entropy(logits, label, torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_reductions(reduction):
    logits, label = torch.randn(6, 4, dtype=F64), torch.randint(0, 4, (6,))
    each = slow_softmax(logits, label, -100)
    want = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]
    torch.testing.assert_close(CrossEntropyLoss(reduction=reduction)(logits, label), want)
    torch.testing.assert_close(CrossEntropyLoss()(logits, label, reduction_override=reduction), want)


def test_sigmoid_of_classified_boxes_takes_the_last_label_as_background():
    logits = torch.randn(5, 3, dtype=F64)
    label = torch.tensor([0, 2, 3, -1, 1])
    weight = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.0])
    target = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=F64)
    got = CrossEntropyLoss(use_sigmoid=True)(logits, label, weight, avg_factor=2.5)
    factor = weight * torch.tensor([1, 1, 1, 0, 1])
    torch.testing.assert_close(got, (slow_sigmoid(logits, target) * factor[:, None]).sum() / 2.5, rtol=1e-6, atol=0)


def test_sigmoid_with_one_channel_reads_label_0_as_object_in_boxes_and_1_in_maps():
    one = CrossEntropyLoss(use_sigmoid=True, reduction="none")
    logits = torch.randn(2, 1, dtype=F64)
    box = one(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(box, slow_sigmoid(logits, torch.tensor([[1.0], [0.0]], dtype=F64)))
    logits, label = torch.randn(2, 1, 3, 3, dtype=F64), torch.randint(0, 2, (2, 3, 3))
    label[0, 0, 0] = 255
    want = slow_sigmoid(logits[:, 0], label.clamp(max=1).to(F64)) * (label != 255)
    torch.testing.assert_close(one(logits, label, ignore_index=255), want)


@pytest.mark.parametrize("avg_non_ignore", [False, True])
def test_sigmoid_of_label_maps(avg_non_ignore):
    logits, label = torch.randn(2, 3, 4, 5, dtype=F64), torch.randint(0, 3, (2, 4, 5))
    label[1, 2:] = 255
    target = torch.stack([label == c for c in range(3)], 1).to(F64)
    valid = (label != 255)[:, None].expand_as(target)
    loss = CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=avg_non_ignore)
    total = valid.sum() if avg_non_ignore else valid.numel()
    want = (slow_sigmoid(logits, target) * valid).sum() / total
    torch.testing.assert_close(loss(logits, label, ignore_index=255), want, rtol=1e-6, atol=0)


def test_sigmoid_of_targets_in_the_shape_of_the_logits():
    logits, target = torch.randn(4, 6, dtype=F64), torch.randint(0, 2, (4, 6))
    got = CrossEntropyLoss(use_sigmoid=True)(logits, target)
    torch.testing.assert_close(got, slow_sigmoid(logits, target.to(F64)).mean())


def test_masks():
    logits, label = torch.randn(3, 4, 5, 5, dtype=F64), torch.tensor([1, 3, 0])
    target = torch.randint(0, 2, (3, 5, 5)).to(F64)
    got = CrossEntropyLoss(use_mask=True)(logits, target, label)
    want = torch.stack([slow_sigmoid(logits[i, c], target[i]) for i, c in enumerate(label)]).mean()
    torch.testing.assert_close(got, want[None])
    assert CrossEntropyLoss(use_mask=True)(logits[:0], target[:0], label[:0]).item() == 0


@pytest.mark.parametrize("options", [{}, {"avg_non_ignore": True}, {"use_sigmoid": True}, {"class_weight": [1, 2, 3]}])
def test_a_map_without_labels_gives_zero_and_a_gradient(options):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = CrossEntropyLoss(**options)(logits, torch.full((2, 4, 4), 255), ignore_index=255)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_forms_exclude_each_other():
    with pytest.raises(ConfigError, match="not both"):
        MODELS.build({"type": "CrossEntropyLoss", "use_sigmoid": True, "use_mask": True})
    with pytest.raises(ValueError, match="third argument"):
        CrossEntropyLoss(use_mask=True)(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2))


@pytest.mark.parametrize(("topk", "want"), [(1, 100 / 3), (2, 200 / 3)])
def test_accuracy(topk, want):
    pred = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.0, 1.0, 0.0]])
    target = torch.tensor([1, 1, 0, 255])
    assert accuracy(pred, target, topk, ignore_index=255).item() == pytest.approx(want, rel=1e-5)


def test_accuracy_of_nothing():
    assert accuracy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).item() == 0
