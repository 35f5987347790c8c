"""What is special to SHViT."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.backbones import SHViT, SHViTTail
from foveal.zoo import create_backbone, create_classifier

SMALL = {"depths": (1, 1, 2), "dims": (16, 24, 32), "partial_dims": (8, 8, 12)}


def disturb(model):
    """Statistics and scales as after training."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.double().eval()


@pytest.mark.parametrize("training", [True, False])
def test_fused_network_computes_the_same(training):
    model, tail = disturb(SHViT(SMALL)), disturb(SHViTTail(32, 5))
    x = torch.randn(2, 3, 70, 90, dtype=torch.float64)
    with torch.no_grad():
        want = [*model(x), tail(model(x))]
        for part in (model.train(training), tail.train(training)):
            part.switch_to_deploy()
            part.eval()
        got = [*model(x), tail(model(x))]
    for part in (model, tail):
        assert not any(isinstance(module, _BatchNorm) for module in part.modules())
    assert isinstance(model.blocks1[0].conv, nn.Conv2d)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_reads_linear_layers_in_place_of_convolutions(tmp_path):
    model = create_classifier("shvit_s1", num_classes=5)
    official = {key.removeprefix("backbone.").removeprefix("head.tail."): v for key, v in model.state_dict().items()}
    flat = {key: v.flatten(1) if v.ndim == 4 and v.shape[2:] == (1, 1) else v for key, v in official.items()}
    torch.save({"model": flat}, tmp_path / "flat.pth")
    again = create_classifier("shvit_s1", tmp_path / "flat.pth", num_classes=5)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    trunk = create_backbone("shvit_s1", tmp_path / "flat.pth")
    assert all(torch.equal(value, official[key]) for key, value in trunk.state_dict().items())
