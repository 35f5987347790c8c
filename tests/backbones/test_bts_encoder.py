"""The encoders of BTS: five maps of torchvision's networks."""

import re

import pytest
import torch
import torchvision

from foveal.backbones import BTSEncoder
from foveal.engine.checkpoint import load_state_dict
from foveal.errors import ConfigError, DataError


@pytest.mark.parametrize("arch", ["densenet121", "resnet50", "mobilenet_v2"])
def test_five_maps_whose_sizes_halve(arch):
    network = BTSEncoder(arch).eval()
    with torch.no_grad():
        maps = network(torch.randn(1, 3, 75, 49))
    assert tuple(x.shape[1] for x in maps) == network.out_channels
    down = [9, 4, 2] if arch == "densenet121" else [10, 5, 3]
    assert [x.shape[2] for x in maps] == [38, 19, *down]
    assert network.out_strides == (2, 4, 8, 16, 32)
    assert not any(name.startswith(("base_model.fc", "base_model.classifier")) for name in network.state_dict())


def test_some_maps_of_other_channels():
    network = BTSEncoder("mobilenet_v2", in_channels=5, out_indices=(0, 2)).eval()
    assert [x.shape[1] for x in network(torch.randn(1, 5, 64, 64))] == [16, 32]
    with pytest.raises(DataError, match=r"BTSEncoder takes images \[N, 5, H, W\]"):
        network(torch.randn(1, 3, 64, 64))


def test_frozen_layers():
    network = BTSEncoder("resnet50", frozen_stages=1).train()
    free = {name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    assert free == {"layer2", "layer3", "layer4"}
    assert not network.base_model.bn1.training and network.base_model.layer2.training


def test_recomputed_activations_give_the_same_gradients():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 64, 64)
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(1)
        network = BTSEncoder("mobilenet_v2", with_cp=with_cp, norm_eval=True).train()
        sum(m.sum() for m in network(x)).backward()
        grads.append([p.grad for p in network.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("arch", ["densenet121", "resnet50", "mobilenet_v2"])
def test_torchvisions_files_fit(arch):
    official = torchvision.models.get_model(arch, weights=None).state_dict()
    if arch == "densenet121":  # as in the file
        official = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): x for key, x in official.items()}
        assert "features.denseblock1.denselayer1.norm.1.weight" in official
    network = BTSEncoder(arch)
    assert load_state_dict(network, official) == []
    first = next(iter(official.values()))
    assert torch.equal(next(iter(network.state_dict().values())), first)


def test_unknown_names():
    with pytest.raises(ConfigError, match="BTSEncoder has no arch 'densenet16'; nearest names: densenet161"):
        BTSEncoder("densenet16")
