"""ATSS, SimOTA, RTMDet's and YOLOv8's assigner against their published rules, written out slowly."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torchvision.ops import box_iou, complete_box_iou_loss

from foveal.heads.anchors import AnchorGenerator, MlvlPointGenerator
from foveal.heads.assigners import ATSSAssigner, BatchTaskAlignedAssigner, DynamicSoftLabelAssigner, SimOTAAssigner
from foveal.heads.assigners.dynamic_soft_label_assigner import center_of_mass

SIZES = [(12, 16), (6, 8), (3, 4)]
STRIDES = [8, 16, 32]
BOXES = torch.tensor([[8.0, 8, 60, 70], [40, 20, 120, 90], [50, 30, 80, 60], [33, 47, 34, 48]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 2])
NONE = InstanceData(bboxes=BOXES[:0], labels=LABELS[:0])


def guesses(classes=3):
    points = torch.cat(MlvlPointGenerator(STRIDES, offset=0.5).grid_priors(SIZES, torch.float64, with_stride=True))
    reach = points[:, 2:] * (0.5 + 2 * torch.rand(len(points), 2, dtype=torch.float64))
    boxes = torch.cat((points[:, :2] - reach, points[:, :2] + reach), dim=1)
    scores = torch.randn(len(points), classes, dtype=torch.float64)
    return InstanceData(priors=points, bboxes=boxes, scores=scores)


def slow_matching(cost, ious, valid, topk):
    """Each box takes its cheapest points; a point that several took is its cheapest box's."""
    rows = valid.nonzero().squeeze(1)
    cost, ious = cost[rows], ious[rows]
    takers = [[] for _ in rows]
    for g in range(cost.shape[1]):
        k = max(1, int(ious[:, g].sort(descending=True).values[:topk].sum()))
        for p in cost[:, g].argsort()[:k].tolist():
            takers[p].append(g)
    gt_inds, overlaps = torch.zeros(len(valid), dtype=torch.long), torch.zeros(len(valid), dtype=torch.float64)
    for i, (p, boxes) in enumerate(zip(rows.tolist(), takers, strict=True)):
        if boxes:
            g = boxes[0] if len(boxes) == 1 else int(cost[i].argmin())
            gt_inds[p], overlaps[p] = g + 1, ious[i, g]
    return gt_inds, overlaps


def inside(points, boxes):
    return torch.cat((points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]), -1).amin(-1) > 0


@pytest.mark.parametrize("topk", [3, 10])
def test_sim_ota_equals_the_slow_rule(topk):
    guess, truth = guesses(), InstanceData(bboxes=BOXES, labels=LABELS)
    guess.scores = guess.scores.sigmoid()
    points = guess.priors
    center = (BOXES[:, :2] + BOXES[:, 2:]) / 2
    within = inside(points[:, :2], BOXES)
    near = ((points[:, None, :2] - center).abs() < 1.5 * points[:, None, 2:]).all(-1)
    ious = box_iou(guess.bboxes, BOXES)
    goal = F.one_hot(LABELS, 3).double().expand(len(points), -1, -1)
    entropy = F.binary_cross_entropy(guess.scores[:, None].expand_as(goal), goal, reduction="none").sum(-1)
    cost = 2 * entropy - 3 * (ious + 1e-7).log() + 1e5 * ~(within & near)
    want = slow_matching(cost, ious, within.any(1) | near.any(1), topk)
    got = SimOTAAssigner(center_radius=1.5, candidate_topk=topk, cls_weight=2.0).assign(guess, truth)
    assert torch.equal(got.gt_inds, want[0]) and (got.gt_inds > 0).sum() > 3
    torch.testing.assert_close(got.max_overlaps, want[1])
    assert torch.equal(got.labels, torch.where(want[0] > 0, LABELS[want[0] - 1], -1))


@pytest.mark.parametrize("masks", [False, True])
def test_dynamic_soft_label_equals_the_slow_rule(masks):
    guess, truth = guesses(), InstanceData(bboxes=BOXES, labels=LABELS)
    center = (BOXES[:, :2] + BOXES[:, 2:]) / 2
    if masks:
        truth.masks = torch.zeros(4, 96, 128, dtype=torch.bool)
        truth.masks[:, 10:21, 40:71] = True
        center = torch.tensor([[55.0, 15.0]], dtype=torch.float64).expand(4, 2)
    ious = box_iou(guess.bboxes, BOXES)
    goal = F.one_hot(LABELS, 3) * ious[..., None]
    logits = guess.scores[:, None].expand_as(goal)
    entropy = F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
    cost = (entropy * (goal - logits.sigmoid()) ** 2).sum(-1) - 3 * (ious + 1e-7).log()
    distance = torch.cdist(guess.priors[:, :2], center) / guess.priors[:, 2:3]
    cost = cost + 10 ** (distance - 3)
    want = slow_matching(cost, ious, inside(guess.priors[:, :2], BOXES).any(1), 13)
    got = DynamicSoftLabelAssigner(topk=13).assign(guess, truth)
    assert torch.equal(got.gt_inds, want[0]) and (got.gt_inds > 0).sum() > 5
    torch.testing.assert_close(got.max_overlaps, want[1])


def test_atss_equals_the_slow_rule():
    levels = AnchorGenerator(STRIDES, [1.0], [4]).grid_priors(SIZES, torch.float64)
    priors, counts = torch.cat(levels), [len(level) for level in levels]
    ious, centers = box_iou(priors, BOXES), (priors[:, :2] + priors[:, 2:]) / 2
    want = torch.zeros(len(priors), dtype=torch.long)
    best = torch.full((len(priors),), -1.0, dtype=torch.float64)
    for g, box in enumerate(BOXES):
        distance = (centers - (box[:2] + box[2:]) / 2).norm(dim=1)
        picked, start = [], 0
        for count in counts:
            picked += (distance[start : start + count].topk(min(5, count), largest=False).indices + start).tolist()
            start += count
        near = ious[picked, g]
        for p in picked:
            x, y = centers[p]
            within = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if ious[p, g] >= near.mean() + near.std() and within and ious[p, g] > best[p]:
                want[p], best[p] = g + 1, ious[p, g]
    truth = InstanceData(bboxes=BOXES, labels=LABELS)
    got = ATSSAssigner(topk=5).assign(InstanceData(priors=priors), counts, truth)
    assert torch.equal(got.gt_inds, want) and (want > 0).sum() > 5
    torch.testing.assert_close(got.max_overlaps, best)


def test_atss_ignores_anchors_in_crowds():
    levels = AnchorGenerator(STRIDES, [1.0], [2]).grid_priors(SIZES, torch.float64)
    crowds = InstanceData(bboxes=torch.tensor([[0.0, 0, 128, 96]]))
    assigner = ATSSAssigner(topk=5, ignore_iof_thr=0.5)
    truth = InstanceData(bboxes=BOXES[:1], labels=LABELS[:1])
    got = assigner.assign(InstanceData(priors=torch.cat(levels)), [len(x) for x in levels], truth, crowds)
    assert set(got.gt_inds.tolist()) >= {-1, 0}
    none = assigner.assign(InstanceData(priors=torch.cat(levels)), [len(x) for x in levels], NONE, crowds)
    assert not none.gt_inds.any()


@pytest.mark.parametrize("assigner", [SimOTAAssigner(), DynamicSoftLabelAssigner()])
def test_boxes_that_no_point_is_in(assigner):
    guess = guesses()
    guess.scores = guess.scores.sigmoid()
    assert not assigner.assign(guess, NONE).gt_inds.any()
    far = InstanceData(bboxes=BOXES + 5000, labels=LABELS)
    assert not assigner.assign(guess, far).gt_inds.any()


def test_center_of_mass():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 1:4, 2:7] = True
    assert center_of_mass(masks, torch.float32).tolist() == [[4, 2], [0, 0]]


def test_task_aligned_by_the_rule():
    given = guesses()
    points, scores = given.priors[:, :2], given.scores.sigmoid()
    inds, quality = BatchTaskAlignedAssigner(topk=4, alpha=0.5, beta=2.0).assign(
        scores[None], given.bboxes[None], points, BOXES[None], LABELS[None]
    )
    overlap, worth = torch.zeros(len(points), 4, dtype=torch.float64), torch.zeros(len(points), 4, dtype=torch.float64)
    takers = [set() for _ in points]
    for g, (box, label) in enumerate(zip(BOXES, LABELS, strict=True)):
        ciou = 1 - complete_box_iou_loss(given.bboxes, box.expand_as(given.bboxes))
        inside = (points > box[:2]).all(1) & (points < box[2:]).all(1)
        overlap[:, g] = ciou.clamp(min=0) * inside
        worth[:, g] = scores[:, label] ** 0.5 * overlap[:, g] ** 2
        for p in worth[:, g].argsort(descending=True)[:4].tolist():
            if worth[p, g] > 0:
                takers[p].add(g)
    owner = torch.tensor(
        [-1 if not t else t.pop() if len(t) == 1 else int(o.argmax()) for t, o in zip(takers, overlap, strict=True)]
    )
    useful = quality[0] > 0
    assert torch.equal(torch.where(useful, inds[0] - 1, -1), owner)
    for g in range(4):
        mine = owner == g
        if mine.any():
            wanted = worth[mine, g] / worth[mine, g].max() * overlap[mine, g].max()
            torch.testing.assert_close(quality[0, mine], wanted)
    assert (owner >= 0).sum() > 6


def test_task_aligned_without_boxes():
    given = guesses()
    empty = torch.zeros(1, 1, 4, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.long)
    inds, quality = BatchTaskAlignedAssigner().assign(
        given.scores.sigmoid()[None], given.bboxes[None], given.priors[:, :2], *empty
    )
    assert not inds.any() and not quality.any()
