import pytest
import torch

from foveal.registry import MODELS


def test_label_smoothing_by_hand():
    logits, label = torch.randn(4, 6), torch.tensor([0, 5, 2, 2])
    target = torch.full((4, 6), 0.1 / 6).scatter_add(1, label[:, None], torch.full((4, 1), 0.9))
    want = -(target * logits.log_softmax(1)).sum(1)
    for reduction, value in (("none", want), ("mean", want.mean()), ("sum", want.sum())):
        loss = MODELS.build({"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "reduction": reduction})
        torch.testing.assert_close(loss(logits, label), value)


def test_value_out_of_range():
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        MODELS.build({"type": "LabelSmoothLoss", "label_smooth_val": 1.0})
