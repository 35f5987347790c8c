"""Accuracy against torchmetrics and by hand."""

from __future__ import annotations

import pytest
import torch

from foveal.errors import ConfigError
from foveal.registry import METRICS


def run(scores: torch.Tensor, labels: torch.Tensor, **kwargs) -> dict[str, float]:
    metric = METRICS.build({"type": "Accuracy", **kwargs})
    samples = [{"pred_score": s, "gt_label": label[None]} for s, label in zip(scores, labels, strict=True)]
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_equals_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional")
    scores, labels = torch.rand(200, 10).softmax(1), torch.randint(0, 10, (200,))
    found = run(scores, labels, topk=(1, 5))
    for k in (1, 5):
        expected = functional.accuracy(scores, labels, "multiclass", num_classes=10, top_k=k, average="micro")
        assert found[f"accuracy/top{k}"] == pytest.approx(100 * expected.item(), abs=1e-4)


def test_thresholds():
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.45, 0.4, 0.15], [0.2, 0.3, 0.5]])
    labels = torch.tensor([0, 0, 1])
    found = run(scores, labels, topk=(1, 2), thrs=(None, 0.5, 0.25))
    expected = {"top1_no-thr": 2, "top1_thr-0.50": 1, "top1_thr-0.25": 2}
    expected |= {"top2_no-thr": 3, "top2_thr-0.50": 1, "top2_thr-0.25": 3}
    assert found == {f"accuracy/{key}": pytest.approx(100 * n / 3) for key, n in expected.items()}


def test_more_than_there_are_classes():
    with pytest.raises(ConfigError, match="5 classes, the model has 3"):
        run(torch.rand(1, 3), torch.zeros(1, dtype=torch.int64), topk=5)
