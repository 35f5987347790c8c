"""IoUMetric against a loop over classes and against torchmetrics."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from foveal.data.palette import make_palette
from foveal.errors import ConfigError, DataError
from foveal.evaluation.iou_metric import count_pixels
from foveal.registry import METRICS
from foveal.structures import DataSample

CLASSES = ["wall", "sky", "tree", "road", "ship"]


def make(count: int = 6, missing: bool = True) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of prediction and truth of several sizes, 5 % ignored; with ``missing`` class 4 occurs nowhere."""
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(count):
        shape = (20 + i, 31)
        truth = rng.integers(0, 4 if missing else 5, shape)
        pred = np.where(rng.random(shape) < 0.7, truth, rng.integers(0, 4, shape))
        pairs.append((pred, np.where(rng.random(shape) < 0.05, 255, truth)))
    return pairs


def sample_of(pred: np.ndarray, truth: np.ndarray, **meta) -> dict:
    sample = DataSample(metainfo={"img_path": "images/a.jpg", **meta})
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(pred)[None])
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(truth)[None])
    return sample.to_dict()


def run(pairs, **kwargs) -> dict[str, float]:
    metric = METRICS.build({"type": "IoUMetric", **kwargs})
    metric.dataset_meta = {"classes": CLASSES}
    for pair in pairs:
        metric.process(None, [sample_of(*pair)])
    return metric.evaluate(len(pairs))


def slow(pairs, nan_to_num=None) -> dict[str, float]:
    """mmseg's definition, one class after the other."""
    iou, acc, dice, right, total = [], [], [], 0, 0
    pred = np.concatenate([p.ravel() for p, _ in pairs])
    truth = np.concatenate([t.ravel() for _, t in pairs])
    pred, truth = pred[truth != 255], truth[truth != 255]
    for c in range(len(CLASSES)):
        both, p, t = ((pred == c) & (truth == c)).sum(), (pred == c).sum(), (truth == c).sum()
        absent = float("nan") if nan_to_num is None else nan_to_num
        iou.append(both / (p + t - both) if p + t else absent)
        acc.append(both / t if t else absent)
        dice.append(2 * both / (p + t) if p + t else absent)
        right, total = right + both, total + t
    means = {"mIoU": np.nanmean(iou), "mAcc": np.nanmean(acc), "mDice": np.nanmean(dice), "aAcc": right / total}
    return {key: 100 * value for key, value in means.items()}


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("nan_to_num", [None, 0])
def test_equals_the_loop(missing, nan_to_num):
    pairs = make(missing=missing)
    scores = run(pairs, iou_metrics=["mIoU", "mDice"], nan_to_num=nan_to_num)
    expected = slow(pairs, nan_to_num)
    assert set(scores) == set(expected)
    assert scores == pytest.approx(expected, abs=1e-9)


def test_equals_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional")
    pairs = make(missing=False)
    pred, truth = (torch.from_numpy(np.concatenate([p[i].ravel() for p in pairs])) for i in (0, 1))
    iou = functional.jaccard_index(pred, truth, "multiclass", num_classes=5, ignore_index=255, average=None)
    args = {"num_classes": 5, "ignore_index": 255}
    f_score = functional.fbeta_score(pred, truth, "multiclass", beta=2.0, average="macro", **args)
    scores = run(pairs, iou_metrics=["mIoU", "mFscore"], beta=2)
    assert scores["mIoU"] == pytest.approx(100 * iou.mean().item(), abs=1e-3)
    recall = functional.recall(pred, truth, "multiclass", average="macro", **args)
    assert scores["mRecall"] == pytest.approx(100 * recall.item(), abs=1e-3)
    assert scores["mFscore"] == pytest.approx(100 * f_score.item(), abs=1e-3)


def test_a_perfect_prediction_scores_100():
    pairs = [(np.where(t == 255, 0, t), t) for _, t in make()]
    assert run(pairs) == {"aAcc": 100.0, "mIoU": 100.0, "mAcc": 100.0}


def test_counts():
    pred, truth = torch.tensor([[0, 1, 1], [2, 2, 0]]), torch.tensor([[0, 1, 2], [2, 255, 255]])
    assert count_pixels(pred, truth, 3).tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 2]]


def test_padding_of_the_truth_is_cropped():
    (pred, truth), *_ = make(1)
    padded = np.pad(truth, ((0, 12), (0, 1)), constant_values=255)
    assert run([(pred, padded)]) == run([(pred, truth)])


@pytest.mark.parametrize("shape", [(22, 31), (10, 31)])
def test_other_size_is_an_error(shape):
    (pred, _), *_ = make(1)
    with pytest.raises(DataError, match=r"images/a.jpg.*after the resize"):
        run([(pred, np.zeros(shape, np.int64))])


def test_label_out_of_range_is_an_error():
    (pred, truth), *_ = make(1)
    with pytest.raises(DataError, match=r"images/a.jpg.*label map.*to 77, expected 0 to 4 or 255"):
        run([(pred, np.where(truth == 2, 77, truth))])


@pytest.mark.parametrize(("reduced", "first"), [(False, 0), (True, 1)])
def test_label_maps_are_written(tmp_path, reduced, first):
    metric = METRICS.build({"type": "IoUMetric", "format_only": True, "output_dir": str(tmp_path / "maps")})
    metric.dataset_meta = {"classes": CLASSES}
    pred = np.array([[0, 1], [2, 3]])
    sample = sample_of(pred, pred, reduce_zero_label=reduced)
    del sample["gt_sem_seg"]
    metric.process(None, [sample])
    assert metric.evaluate(1) == {}
    assert np.array_equal(cv2.imread(str(tmp_path / "maps" / "a.png"), cv2.IMREAD_UNCHANGED), pred + first)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="mIOU"):
        METRICS.build({"type": "IoUMetric", "iou_metrics": ["mIOU"]})
    with pytest.raises(ConfigError, match="output_dir"):
        METRICS.build({"type": "IoUMetric", "format_only": True})


def test_maps_are_written_with_the_ids_of_the_server(tmp_path):
    metric = METRICS.build({"type": "IoUMetric", "format_only": True, "output_dir": str(tmp_path)})
    metric.dataset_meta = {"classes": CLASSES, "label_ids": (7, 8, 11, 12, 13)}
    labels = np.array([[0, 4], [2, 1]])
    metric.process(None, [sample_of(labels, labels)])
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).tolist() == [[7, 13], [11, 8]]


@pytest.mark.parametrize("palette", [None, [[10, 20, 30], [40, 50, 60], [1, 2, 3], [4, 5, 6], [7, 8, 9]]])
def test_maps_are_written_in_colours_beside_the_scores(tmp_path, palette):
    metric = METRICS.build({"type": "IoUMetric", "color_dir": str(tmp_path / "colours")})
    metric.dataset_meta = {"classes": CLASSES, "palette": palette}
    labels = np.array([[0, 4], [2, 1]])
    metric.process(None, [sample_of(labels, labels)])
    picture = cv2.imread(str(tmp_path / "colours" / "a.png"))[..., ::-1]
    assert np.array_equal(picture, np.array(palette or make_palette(len(CLASSES)))[labels])
    assert metric.evaluate(1)["mIoU"] == 100
