import pytest
import torch
from mmengine.structures import InstanceData
from torchvision.ops import box_iou

from foveal.heads.assigners import MaxIoUAssigner

EMPTY = torch.zeros(0, 4)


def assign(assigner, priors, boxes, crowds=None):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    truth = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) + 10)
    ignored = None if crowds is None else InstanceData(bboxes=torch.tensor(crowds))
    return assigner.assign(InstanceData(priors=torch.as_tensor(priors)), truth, ignored)


def slow(overlaps, pos, neg, min_pos, assign_all, low_quality):
    """The published rule, prior by prior and box by box."""
    inds = []
    for column in overlaps.T.tolist():
        best = max(column)
        inds.append(column.index(best) + 1 if best >= pos else 0 if neg[0] <= best < neg[1] else -1)
    for i, row in enumerate(overlaps.tolist() if low_quality else []):
        best = max(row)
        if best >= min_pos and best > 0:
            which = [j for j, x in enumerate(row) if x == best]
            for j in which if assign_all else which[:1]:
                inds[j] = i + 1
    return inds


@pytest.mark.parametrize("neg", [0.4, (0.1, 0.4)])
@pytest.mark.parametrize(
    ("min_pos", "assign_all", "low_quality"), [(0, True, True), (0.3, False, True), (0, True, False)]
)
def test_equals_the_slow_rule(neg, min_pos, assign_all, low_quality):
    corner = torch.randint(0, 40, (200, 2)).float()
    priors = torch.cat((corner, corner + torch.randint(4, 30, (200, 2))), dim=1)
    # two equal boxes and one far away: ties, and a box that no prior overlaps
    boxes = torch.cat((priors[:6] + torch.tensor([1.0, 0, 2, 3]), priors[:1], priors[:1], torch.full((1, 4), 500.0)))
    assigner = MaxIoUAssigner(0.5, neg, min_pos, assign_all, match_low_quality=low_quality)
    result = assign(assigner, priors, boxes)
    overlaps = assigner.iou_calculator(boxes, priors)
    torch.testing.assert_close(overlaps[:-1], box_iou(boxes, priors)[:-1])
    interval = neg if isinstance(neg, tuple) else (0, neg)
    assert result.gt_inds.tolist() == slow(overlaps, 0.5, interval, min_pos, assign_all, low_quality)
    found = result.gt_inds > 0
    assert found.any()
    assert torch.equal(result.labels[found], result.gt_inds[found] + 9) and (result.labels[~found] == -1).all()
    torch.testing.assert_close(result.max_overlaps, overlaps.amax(0))


def test_hand_case():
    priors = torch.tensor([[0.0, 0, 10, 10], [10, 10, 20, 20], [0, 0, 10, 4.5], [30, 30, 40, 40]])
    result = assign(MaxIoUAssigner(0.5, 0.4), priors, [[0, 0, 10, 10.0]])
    assert result.gt_inds.tolist() == [1, 0, -1, 0]
    assert result.labels.tolist() == [10, -1, -1, -1]


def test_image_without_boxes_is_background():
    result = assign(MaxIoUAssigner(0.5, 0.4), torch.rand(5, 4), EMPTY)
    assert result.num_gts == 0 and result.gt_inds.tolist() == [0] * 5 and result.labels.tolist() == [-1] * 5


def test_no_priors():
    assert assign(MaxIoUAssigner(0.5, 0.4), EMPTY, [[0, 0, 1, 1.0]]).gt_inds.tolist() == []


def test_priors_in_crowds_are_ignored():
    priors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 99, 99]])
    crowd = [[40.0, 40, 80, 80]]
    for truth in ([[0, 0, 10, 10.0]], [[0, 0, 10, 10.0], [50, 50, 60, 60.0]]):
        result = assign(MaxIoUAssigner(0.5, 0.4, ignore_iof_thr=0.5), priors, truth, crowd)
        assert result.gt_inds.tolist() == [1, -1, 0]
    # the share of the crowd that the prior covers is small
    other = MaxIoUAssigner(0.5, 0.4, ignore_iof_thr=0.5, ignore_wrt_candidates=False)
    assert assign(other, priors, [[0, 0, 10, 10.0]], crowd).gt_inds.tolist() == [1, 0, 0]
    assert assign(MaxIoUAssigner(0.5, 0.4), priors, [[0, 0, 10, 10.0]], crowd).gt_inds.tolist() == [1, 0, 0]
