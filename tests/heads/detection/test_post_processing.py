import math

import pytest
import torch
from torchvision.ops import box_iou

from foveal.errors import ConfigError
from foveal.heads.detection.post_processing import detections, filter_scores_and_topk, select_and_nms

CFG = {
    "nms_pre": 30,
    "min_bbox_size": 0,
    "score_thr": 0.3,
    "nms": {"type": "nms", "iou_threshold": 0.5},
    "max_per_img": 12,
}


def boxes(count, side=20):
    corner = torch.rand(count, 2) * 30
    return torch.cat((corner, corner + 1 + torch.rand(count, 2) * side), dim=1)


def brute_force_nms(boxes, scores, labels, threshold, agnostic=False):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        rivals = [k for k in kept if agnostic or labels[k] == labels[i]]
        if all(box_iou(boxes[i : i + 1], boxes[k : k + 1]) <= threshold for k in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("count", [0, 1, 120])
def test_nms_equals_brute_force(agnostic, count):
    found, scores, labels = boxes(count), torch.rand(count), torch.randint(0, 3, (count,))
    expected = brute_force_nms(found, scores, labels, 0.4, agnostic)
    cfg = {"nms": {"type": "nms", "iou_threshold": 0.4, "class_agnostic": agnostic}}
    assert select_and_nms(found, scores, labels, cfg)[0].tolist() == expected
    assert select_and_nms(found, scores, labels, {**cfg, "max_per_img": 5})[0].tolist() == expected[:5]


def test_flat_boxes_go_first():
    found = torch.tensor([[0.0, 0, 5, 5], [9, 9, 9, 20], [10, 10, 12, 30]])
    scores, labels = torch.tensor([0.1, 0.9, 0.5]), torch.zeros(3, dtype=torch.long)
    assert select_and_nms(found, scores, labels, {"min_bbox_size": 0})[0].tolist() == [2, 0]
    assert select_and_nms(found, scores, labels, {"min_bbox_size": 2})[0].tolist() == [0]
    assert select_and_nms(found, scores, labels, {})[0].tolist() == [1, 2, 0]


def test_unknown_suppression_is_refused():
    with pytest.raises(ConfigError, match="hard_nms"):
        select_and_nms(boxes(2), torch.rand(2), torch.zeros(2), {"nms": {"type": "hard_nms"}})


def test_pairs_above_the_threshold():
    scores = torch.tensor([[0.9, 0.2], [0.5, 0.7], [0.5000001, 0.1]])
    best, labels, points = filter_scores_and_topk(scores, 0.5, 2)
    torch.testing.assert_close(best, torch.tensor([0.9, 0.7]))
    assert (labels.tolist(), points.tolist()) == ([0, 1], [0, 1])
    assert len(filter_scores_and_topk(scores, 0.5, -1)[0]) == 3
    assert len(filter_scores_and_topk(scores, 0.95, 5)[0]) == 0


def test_detections_equal_the_slow_way():
    counts, classes = (40, 10), 3
    scores = [torch.rand(2, n, classes) for n in counts]
    factors = [torch.rand(2, n) for n in counts]
    priors = [torch.rand(n, 4) for n in counts]
    codes = [torch.stack((boxes(n), boxes(n))) for n in counts]
    metas = [{"img_shape": (32, 40), "scale_factor": (2.0, 4.0)}, {"img_shape": (30, 30)}]

    def decode(anchors, found, max_shape):
        return (found + anchors).clamp(max=max_shape[0])

    got = detections(scores, codes, priors, decode, metas, CFG, True, factors)
    for i, meta in enumerate(metas):
        rows = []
        for level, n in enumerate(counts):
            pairs = [(scores[level][i, p, c].item(), p, c) for p in range(n) for c in range(classes)]
            pairs = sorted((x for x in pairs if x[0] > CFG["score_thr"]), reverse=True)[: CFG["nms_pre"]]
            for score, p, c in pairs:
                box = decode(priors[level][p], codes[level][i, p], meta["img_shape"])
                width, height = meta.get("scale_factor", (1, 1))
                box = box / torch.tensor([width, height, width, height])
                rows.append((box, score * factors[level][i, p].item(), c))
        all_boxes = torch.stack([row[0] for row in rows])
        all_scores, all_labels = torch.tensor([row[1] for row in rows]), torch.tensor([row[2] for row in rows])
        valid = [k for k, b in enumerate(all_boxes) if b[2] > b[0] and b[3] > b[1]]
        kept = brute_force_nms(all_boxes[valid], all_scores[valid], all_labels[valid], 0.5)[: CFG["max_per_img"]]
        index = torch.tensor(valid)[kept]
        torch.testing.assert_close(got[i].bboxes, all_boxes[index])
        torch.testing.assert_close(got[i].scores, all_scores[index])
        assert torch.equal(got[i].labels, all_labels[index])


def test_nothing_found():
    (found,) = detections(
        [torch.zeros(1, 4, 2)], [torch.zeros(1, 4, 4)], [torch.zeros(4, 4)], lambda a, b, max_shape: b,
        [{"img_shape": (8, 8)}], CFG, True,
    )  # fmt: skip
    assert found.bboxes.shape == (0, 4) and len(found) == 0 and found.labels.dtype == torch.int64


def test_prediction_needs_a_test_cfg():
    with pytest.raises(ConfigError, match="test_cfg"):
        detections([], [], [], None, [], None, True)


def slow_soft_nms(found, scores, labels, weight, min_score):
    """mmcv's order of operations, a pair of boxes at a time."""
    scores, left, kept = scores.tolist(), list(range(len(scores))), []
    while left:
        best = max(left, key=lambda i: scores[i])
        kept.append(best)
        left.remove(best)
        for i in list(left):
            if labels[i] == labels[best]:
                scores[i] *= weight(float(box_iou(found[best][None], found[i][None])))
            if scores[i] < min_score:
                left.remove(i)
    return kept, [scores[i] for i in kept]


WEIGHTS = {
    "linear": lambda overlap: 1 - overlap if overlap >= 0.4 else 1,
    "gaussian": lambda overlap: math.exp(-(overlap**2) / 0.5),
    "naive": lambda overlap: 0 if overlap >= 0.4 else 1,
}


@pytest.mark.parametrize("method", WEIGHTS)
@pytest.mark.parametrize("count", [0, 1, 60])
def test_soft_nms_equals_a_loop(method, count):
    found, scores, labels = boxes(count).double(), torch.rand(count).double(), torch.randint(0, 3, (count,))
    cfg = {"nms": {"type": "soft_nms", "iou_threshold": 0.4, "sigma": 0.5, "min_score": 0.05, "method": method}}
    kept, lowered = select_and_nms(found, scores, labels, cfg)
    expected, expected_scores = slow_soft_nms(found, scores, labels, WEIGHTS[method], 0.05)
    assert kept.tolist() == expected
    assert lowered.tolist() == pytest.approx(expected_scores)


def test_naive_soft_nms_is_nms():
    found, scores, labels = boxes(60), torch.rand(60), torch.randint(0, 3, (60,))
    hard, _ = select_and_nms(found, scores, labels, {"nms": {"type": "nms", "iou_threshold": 0.4}})
    soft = {"type": "soft_nms", "iou_threshold": 0.4, "min_score": 1e-9, "method": "naive"}
    assert select_and_nms(found, scores, labels, {"nms": soft})[0].tolist() == hard.tolist()


def test_unknown_method_of_soft_nms():
    with pytest.raises(ConfigError, match="'linear', 'gaussian' or 'naive', got 'cubic'"):
        select_and_nms(boxes(3), torch.rand(3), torch.zeros(3).long(), {"nms": dict(type="soft_nms", method="cubic")})
