"""What is special to CvT."""

import torch

from foveal.backbones import CvT, CvTTail
from foveal.models.classifier import ImageClassifier

SMALL = {"depths": (1, 2, 3), "dims": (8, 16, 24), "num_heads": (1, 2, 3)}


def test_classifier_reads_the_class_token():
    torch.manual_seed(0)
    backbone, tail = CvT(SMALL, out_indices=(0,)), {"type": "CvTTail"}
    head = {"type": "ClsHead", "tail": tail, "num_classes": 5, "in_channels": 24}
    model = ImageClassifier(backbone, head=head).eval()
    x = torch.randn(1, 3, 33, 50)
    with torch.no_grad():
        token = backbone.class_token(x)
        assert token.shape == (1, 24) and model(x).shape == (1, 5)
        torch.testing.assert_close(model(x), model.head.tail(token))
        before = [backbone(x)[0], CvTTail(24, 5)(token)]
        backbone.stage2.cls_token.add_(1)
        assert torch.equal(before[0], backbone(x)[0])  # the first map comes before the token
        assert not torch.equal(token, backbone.class_token(x))


def test_stochastic_depth_rises_over_the_last_stage_alone():
    model = CvT(SMALL, drop_path_rate=0.3)
    rates = [[block.drop_path.drop_prob for block in getattr(model, f"stage{i}").blocks] for i in range(3)]
    assert rates[:2] == [[0.0], [0.0, 0.0]]
    torch.testing.assert_close(torch.tensor(rates[2]), torch.tensor([0.0, 0.15, 0.3]))
