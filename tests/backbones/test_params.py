"""Parameters of every official classification network, against the published counts."""

import pytest
import torch

from foveal.models.classifier import ImageClassifier
from foveal.zoo.create import classifier_nodes, find_variant

# exact where the official code gives a number, which rounds to what the paper or the README prints
PUBLISHED = {
    "inceptionnext_atto": 4_156_520,
    "inceptionnext_tiny": 28_055_680,
    "inceptionnext_small": 49_374_016,
    "inceptionnext_base": 86_672_136,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_as_published(name):
    with torch.device("meta"):
        model = ImageClassifier(**classifier_nodes(find_variant(name), {}))
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
