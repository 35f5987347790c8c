import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import (
    box_iou,
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou,
    sigmoid_focal_loss,
)

from foveal.heads.losses import (
    CIoULoss,
    DiceLoss,
    DIoULoss,
    DistributionFocalLoss,
    FocalLoss,
    GaussianFocalLoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    QualityFocalLoss,
    SmoothL1Loss,
    VarifocalLoss,
)


def boxes(count):
    corner = torch.rand(count, 2, dtype=torch.float64) * 20
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, dtype=torch.float64) * 20), dim=1)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.6)])
def test_focal_equals_torchvision(gamma, alpha):
    pred = (torch.randn(40, 5, dtype=torch.float64) * 6).requires_grad_()
    target = torch.randint(0, 6, (40,))
    onehot = F.one_hot(target, 6)[:, :5].double()
    loss = FocalLoss(gamma=gamma, alpha=alpha, reduction="none")
    expected = sigmoid_focal_loss(pred, onehot, alpha, gamma)
    torch.testing.assert_close(loss(pred, target), expected)
    torch.testing.assert_close(loss(pred, onehot), expected)
    weight = torch.rand(40, dtype=torch.float64)
    got = FocalLoss(gamma=gamma, alpha=alpha, loss_weight=3.0)(pred, target, weight, avg_factor=7)
    want = 3 * (expected * weight[:, None]).sum() / 7
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
    for a, b in zip(torch.autograd.grad(got, pred), torch.autograd.grad(want, pred), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)


def test_focal_of_probabilities():
    logits, target = torch.randn(30, 4, dtype=torch.float64), torch.randint(0, 5, (30,))
    got = FocalLoss(activated=True)(logits.sigmoid(), target)
    torch.testing.assert_close(got, FocalLoss()(logits, target))
    certain = torch.tensor([[0.0, 1.0]])
    assert FocalLoss(activated=True)(certain, torch.tensor([0])).isfinite()


def test_focal_stays_finite_for_large_logits():
    pred = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    loss = FocalLoss(reduction="sum")(pred, torch.tensor([1, 2]))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(0.75 * 100 + 0.25 * 100 + 0.75 * 100))
    assert pred.grad.isfinite().all()


def test_focal_has_no_softmax():
    with pytest.raises(ValueError, match="use_sigmoid"):
        FocalLoss(use_sigmoid=False)


@pytest.mark.parametrize("mode", ["log", "linear", "square"])
def test_iou_equals_torchvision(mode):
    pred, target = boxes(12), boxes(12)
    iou = box_iou(pred, target).diagonal().clamp(min=1e-6)
    expected = {"log": -iou.log(), "linear": 1 - iou, "square": 1 - iou**2}[mode]
    torch.testing.assert_close(IoULoss(mode=mode, reduction="none")(pred, target), expected)
    weight = torch.rand(12, dtype=torch.float64)
    got = IoULoss(mode=mode, loss_weight=2.0)(pred, target, weight[:, None].expand(-1, 4), avg_factor=3.0)
    torch.testing.assert_close(got, 2 * (expected * weight).sum() / 3, rtol=1e-6, atol=0)


def test_iou_options():
    assert IoULoss(linear=True).mode == "linear"
    with pytest.raises(ValueError, match="cubic"):
        IoULoss(mode="cubic")


def test_giou_equals_torchvision():
    pred, target = boxes(12), boxes(12)
    expected = 1 - generalized_box_iou(pred, target).diagonal()
    torch.testing.assert_close(GIoULoss(reduction="none")(pred, target), expected)


@pytest.mark.parametrize("loss", [L1Loss(), SmoothL1Loss(), IoULoss(), GIoULoss()])
def test_no_boxes_cost_nothing(loss):
    pred = torch.zeros(0, 4, requires_grad=True)
    for avg_factor in (None, 1.0):
        value = loss(pred, torch.zeros(0, 4), avg_factor=avg_factor)
        value.backward()
        assert value == 0


@pytest.mark.parametrize("loss", [IoULoss(), IoULoss(mode="linear"), GIoULoss()])
def test_degenerate_boxes_have_finite_gradients(loss):
    pred = torch.tensor([[5.0, 5, 5, 5], [0, 0, 1, 1], [9, 9, 3, 3]], requires_grad=True)
    value = loss(pred, torch.tensor([[5.0, 5, 5, 5], [50, 50, 51, 51], [0, 0, 4, 4]]))
    value.backward()
    assert value.isfinite() and pred.grad.isfinite().all()


def test_absolute_differences():
    pred, target = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.5, 1.0, 2.0])
    torch.testing.assert_close(L1Loss(loss_weight=2.0)(pred, target), torch.tensor(7.0 / 3))
    smooth = SmoothL1Loss(beta=1.0, reduction="none")(pred, target)
    torch.testing.assert_close(smooth, torch.tensor([0.125, 0.0, 2.5]))
    assert L1Loss()(pred, target, reduction_override="sum") == 3.5


@pytest.mark.parametrize(("ours", "theirs"), [(DIoULoss, distance_box_iou_loss), (CIoULoss, complete_box_iou_loss)])
def test_distance_and_complete_iou_equal_torchvision(ours, theirs):
    target = boxes(12)
    near = target + torch.rand(12, 4, dtype=torch.float64) * 0.3
    # torchvision weighs the shape of boxes that hardly overlap, too: compare those that do
    pred = near if ours is CIoULoss else boxes(12)
    torch.testing.assert_close(ours(reduction="none", eps=1e-9)(pred, target), theirs(pred, target, eps=1e-9))
    assert CIoULoss(reduction="none")(target, target + 100).max() <= 2


def test_complete_iou_with_the_shape_everywhere():
    pred, target = boxes(12), boxes(12)
    loss = CIoULoss(reduction="none", eps=1e-9, shape_from=-1)
    torch.testing.assert_close(loss(pred, target), complete_box_iou_loss(pred, target, eps=1e-9).clamp(max=2))


@pytest.mark.parametrize("loss", [CIoULoss(), CIoULoss(shape_from=-1), DIoULoss()])
def test_equal_boxes_have_no_loss(loss):
    target = torch.tensor([[10.0, 20, 300, 500], [0, 0, 1024, 1024]])
    pred = target.clone().requires_grad_()
    value = loss(pred, target)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6) and pred.grad.isfinite().all()


def test_distribution_focal_by_the_formula():
    logits = torch.randn(6, 5, dtype=torch.float64)
    target = torch.tensor([0.0, 0.25, 1.0, 2.5, 3.9, 3.0], dtype=torch.float64)
    entropy = -logits.log_softmax(1)
    want = [(1 - t % 1) * entropy[i, int(t)] + t % 1 * entropy[i, int(t) + 1] for i, t in enumerate(target.tolist())]
    torch.testing.assert_close(DistributionFocalLoss(reduction="none")(logits, target), torch.stack(want))
    weight = torch.rand(6, dtype=torch.float64)
    got = DistributionFocalLoss(loss_weight=0.25)(logits, target, weight, avg_factor=4.0)
    torch.testing.assert_close(got, 0.25 * (torch.stack(want) * weight).sum() / 4)


@pytest.mark.parametrize("activated", [False, True])
def test_quality_focal_by_the_formula(activated):
    logits, label = torch.randn(30, 4, dtype=torch.float64), torch.randint(0, 5, (30,))
    quality = torch.rand(30, dtype=torch.float64)
    goal = F.one_hot(label, 5)[:, :4] * quality[:, None]
    score = logits.sigmoid()
    want = (goal - score).abs() ** 1.5 * F.binary_cross_entropy(score, goal, reduction="none")
    pred = score if activated else logits
    loss = QualityFocalLoss(beta=1.5, reduction="none", activated=activated)
    torch.testing.assert_close(loss(pred, (label, quality)), want.sum(1))
    torch.testing.assert_close(loss(pred, goal), want.sum(1))
    weight = torch.rand(30, dtype=torch.float64)
    got = QualityFocalLoss(beta=1.5, loss_weight=2.0, activated=activated)(pred, (label, quality), weight, avg_factor=3)
    torch.testing.assert_close(got, 2 * (want.sum(1) * weight).sum() / 3, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="use_sigmoid"):
        QualityFocalLoss(use_sigmoid=False)


@pytest.mark.parametrize("iou_weighted", [True, False])
def test_varifocal_by_the_formula(iou_weighted):
    logits = torch.randn(20, 3, dtype=torch.float64)
    goal = torch.rand(20, 3, dtype=torch.float64) * (torch.rand(20, 3) < 0.4)
    score = logits.sigmoid()
    entropy = -(goal * score.log() + (1 - goal) * (1 - score).log())
    positive = goal if iou_weighted else 1.0
    want = entropy * torch.where(goal > 0, positive, 0.6 * score**3)
    got = VarifocalLoss(alpha=0.6, gamma=3.0, iou_weighted=iou_weighted, reduction="none")(logits, goal)
    torch.testing.assert_close(got, want)
    with pytest.raises(ValueError, match="alpha"):
        VarifocalLoss(alpha=-1)


def test_dice_by_hand():
    pred, target = torch.tensor([[[1.0, 1, 0, 0]]]), torch.tensor([[[1, 0, 0, 1]]])
    assert DiceLoss(activate=False, eps=1e-9)(pred, target).item() == pytest.approx(0.5)
    soft = torch.tensor([[[0.5, 0.5]]])
    assert DiceLoss(activate=False, eps=0.0)(soft, torch.ones(1, 1, 2)).item() == pytest.approx(1 - 2 / 2.5)
    naive = DiceLoss(activate=False, naive_dice=True, eps=1.0)
    assert naive(soft, torch.ones(1, 1, 2)).item() == pytest.approx(1 - 3 / 4)
    logits = torch.randn(3, 4, 4)
    torch.testing.assert_close(
        DiceLoss(reduction="none")(logits, target=logits > 0),
        DiceLoss(activate=False, reduction="none")(logits.sigmoid(), logits > 0),
    )
    assert DiceLoss()(torch.zeros(0, 4, 4, requires_grad=True), torch.zeros(0, 4, 4)) == 0


def test_gaussian_focal_by_the_formula():
    pred, goal = torch.rand(2, 3, 4), torch.rand(2, 3, 4) * 0.9
    goal[0, 1, 2] = 1
    want = -((1 - goal) ** 4) * pred**2 * (1 - pred).log()
    want[0, 1, 2] = -((1 - pred[0, 1, 2]) ** 2) * pred[0, 1, 2].log() * 2
    torch.testing.assert_close(GaussianFocalLoss(pos_weight=2.0, reduction="none")(pred, goal), want)
