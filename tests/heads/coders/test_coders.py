import math

import pytest
import torch

from foveal.heads.coders import DeltaXYWHBBoxCoder, DistancePointBBoxCoder


def boxes(*shape):
    corner = torch.rand(*shape, 2, dtype=torch.float64) * 100
    return torch.cat((corner, corner + 1 + torch.rand(*shape, 2, dtype=torch.float64) * 50), dim=-1)


@pytest.mark.parametrize("options", [{}, {"target_means": (0.1, 0.0, -0.2, 0.3), "target_stds": (0.1, 0.1, 0.2, 0.2)}])
@pytest.mark.parametrize("shape", [(7,), (2, 5), (0,)])
def test_delta_round_trip(options, shape):
    coder = DeltaXYWHBBoxCoder(**options)
    anchors, truth = boxes(*shape), boxes(*shape)
    torch.testing.assert_close(coder.decode(anchors, coder.encode(anchors, truth)), truth)


def test_delta_by_hand():
    coder = DeltaXYWHBBoxCoder(target_stds=(1, 1, 2, 2))
    anchor = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    truth = torch.tensor([[5.0, 0.0, 25.0, 10.0]])
    expected = torch.tensor([[1.0, -0.25, math.log(2) / 2, math.log(0.5) / 2]])
    torch.testing.assert_close(coder.encode(anchor, truth), expected)


def test_delta_limits_growth_and_clips():
    coder = DeltaXYWHBBoxCoder()
    anchor = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    grown = coder.decode(anchor, torch.tensor([[0.0, 0.0, 50.0, -50.0]]))
    torch.testing.assert_close(grown[0, 2:] - grown[0, :2], torch.tensor([125.0, 2 * 0.016]))
    clipped = coder.decode(anchor, torch.tensor([[0.0, 0.0, 50.0, 50.0]]), max_shape=(30, 40))
    assert clipped.tolist() == [[0, 0, 40, 30]]
    free = DeltaXYWHBBoxCoder(clip_border=False).decode(anchor, torch.zeros(1, 4), max_shape=(1, 1))
    assert free.tolist() == anchor.tolist()


def test_delta_one_box_a_class():
    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    rois, deltas = boxes(3), torch.randn(3, 8, dtype=torch.float64)
    got = coder.decode(rois, deltas, max_shape=(80, 80))
    for c in range(2):
        expected = coder.decode(rois, deltas[:, 4 * c : 4 * c + 4], max_shape=(80, 80))
        torch.testing.assert_close(got[:, 4 * c : 4 * c + 4], expected)


def test_delta_centre_clamp():
    coder = DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=3)
    got = coder.decode(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[1.0, -1.0, 0.0, 0.0]]))
    assert got.tolist() == [[3, -3, 13, 7]]


def test_distance_round_trip_and_limits():
    coder = DistancePointBBoxCoder()
    truth = boxes(2, 6)
    points = (truth[..., :2] + truth[..., 2:]) / 2
    torch.testing.assert_close(coder.decode(points, coder.encode(points, truth)), truth)
    point, box = torch.tensor([[5.0, 5.0]]), torch.tensor([[6.0, 0.0, 40.0, 8.0]])
    assert coder.encode(point, box).tolist() == [[-1, 5, 35, 3]]
    torch.testing.assert_close(coder.encode(point, box, max_dis=16), torch.tensor([[0.0, 5.0, 15.9, 3.0]]))
    far = torch.full((1, 4), 99.0)
    assert coder.decode(point, far, max_shape=(20, 30)).tolist() == [[0, 0, 30, 20]]
