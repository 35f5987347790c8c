"""The classifier's three modes, and heads that read more than maps."""

import pytest
import torch
from torch import nn

from foveal.registry import MODELS
from foveal.structures import DataSample

BACKBONE = {"type": "ConvNeXt", "arch": {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 24)}, "output_norm": False}


def samples(*labels):
    out = []
    for label in labels:
        sample = DataSample()
        sample.gt_label = torch.tensor([label])
        out.append(sample)
    return out


def build(**head):
    node = {"type": "LinearClsHead", "num_classes": 5, **head}
    return MODELS.build({"type": "ImageClassifier", "backbone": BACKBONE, "head": node})


@pytest.mark.parametrize("head", [{}, {"type": "ClsHead", "tail": {"type": "ConvNeXtTail"}}])
def test_modes_agree(head):
    model = build(**head, cal_acc=True, topk=(1, 3)).eval()
    x, data = torch.randn(3, 3, 32, 40), samples(0, 4, 2)
    logits = model(x)
    assert logits.shape == (3, 5)
    losses = model(x, data, "loss")
    torch.testing.assert_close(losses["loss"], nn.functional.cross_entropy(logits, torch.tensor([0, 4, 2])))
    share = (logits.argmax(1) == torch.tensor([0, 4, 2])).float().mean() * 100
    torch.testing.assert_close(losses["accuracy_top-1"], share.reshape(1), atol=1e-4, rtol=1e-5)
    assert losses["accuracy_top-3"] >= losses["accuracy_top-1"]
    for sample, row in zip(model(x, data, "predict"), logits, strict=True):
        torch.testing.assert_close(sample.pred_score, row.softmax(0))
        assert sample.pred_label.shape == (1,) and sample.pred_label == row.argmax()
    assert len(model(x, mode="predict")) == 3
    with pytest.raises(ValueError, match="tensor, loss or predict"):
        model(x, mode="losses")


def test_one_training_step_lowers_the_loss():
    model = build(loss={"type": "LabelSmoothLoss", "label_smooth_val": 0.1})
    model.init_weights()
    x, data = torch.randn(4, 3, 32, 32), samples(0, 1, 2, 3)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    values = []
    for _ in range(5):
        loss = model(x, data, "loss")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0]


_NORMALISE = {"type": "DataPreprocessor", "mean": [127.0] * 3, "std": [60.0] * 3, "bgr_to_rgb": True}


@pytest.mark.parametrize("node", [_NORMALISE, None])
def test_preprocessor_stacks_images(node):
    model = MODELS.build(
        {
            "type": "ImageClassifier",
            "backbone": BACKBONE,
            "head": {"type": "LinearClsHead", "num_classes": 5},
            "data_preprocessor": node,
        }
    )
    images = [torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    results = model.val_step({"inputs": images, "data_samples": samples(0, 1)})
    assert [tuple(r.pred_score.shape) for r in results] == [(5,), (5,)]


class _Tokens(nn.Module):
    reads = "tokens"

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, feats):
        return self.fc(feats)


class _Trunk(nn.Module):
    out_channels = (7,)

    def tokens(self, x):
        return x.mean((-2, -1)).repeat(1, 3)[:, :7]


def test_a_tail_may_read_another_method_of_the_backbone():
    head = {"type": "ClsHead", "tail": {"type": _Tokens}, "num_classes": 4}
    model = MODELS.build({"type": "ImageClassifier", "backbone": _Trunk(), "head": head})
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"reads the backbone's tokens\(\)"):
        MODELS.build({"type": "ImageClassifier", "backbone": BACKBONE, "head": head})
