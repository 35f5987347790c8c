"""DepthMetric: by hand, and what does not count."""

import math

import pytest
import torch

from foveal.errors import ConfigError, DataError
from foveal.evaluation import DepthMetric


def sample(pred, gt):
    return {"pred_depth_map": {"data": pred[None]}, "gt_depth_map": {"data": gt[None]}, "img_path": "a.png"}


def test_scores_by_hand():
    gt = torch.tensor([[1.0, 2.0, 4.0, 0.0, 90.0]])
    pred = torch.tensor([[1.2, 3.0, 4.0, 5.0, 1.0]])
    metric = DepthMetric(max_depth_eval=80)
    metric.process(None, [sample(pred, gt)])
    scores = metric.compute_metrics(metric.results)
    assert [scores[f"d{i}"] for i in (1, 2, 3)] == pytest.approx([2 / 3, 1, 1])
    assert scores["abs_rel"] == pytest.approx((0.2 + 0.5) / 3)
    assert scores["sq_rel"] == pytest.approx((0.04 + 0.5) / 3)
    assert scores["rmse"] == pytest.approx(math.sqrt((0.04 + 1) / 3))
    logs = [math.log(1.2), math.log(1.5), 0]
    square, mean = sum(x * x for x in logs) / 3, sum(logs) / 3
    assert scores["rmse_log"] == pytest.approx(math.sqrt(square))
    assert scores["silog"] == pytest.approx(math.sqrt(square - mean**2 / 2))
    assert scores["log10"] == pytest.approx(mean / math.log(10))


def test_nyu_crop_and_the_mean_over_images():
    gt, pred = torch.ones(480, 640), torch.ones(480, 640)
    pred[:45] = 9.0
    metric = DepthMetric(["rmse"], crop_type="nyu_crop")
    metric.process(None, [sample(pred, gt), sample(gt + 1, gt)])
    assert metric.compute_metrics(metric.results) == {"rmse": 0.5}


def test_mistakes():
    with pytest.raises(ConfigError, match="delta"):
        DepthMetric(["delta"])
    with pytest.raises(ConfigError, match="eigen"):
        DepthMetric(crop_type="eigen")
    with pytest.raises(DataError, match=r"a.png: the truth is \(2, 2\), the prediction \(2, 3\)"):
        DepthMetric().process(None, [sample(torch.ones(2, 3), torch.ones(2, 2))])
    with pytest.raises(DataError, match="no pixel has a depth"):
        DepthMetric().process(None, [sample(torch.ones(2, 2), torch.zeros(2, 2))])
