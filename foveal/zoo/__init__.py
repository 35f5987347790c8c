"""From a name that a user types to a network, with official weights where a file is given."""

from foveal.zoo.create import create_backbone, create_classifier, list_backbones
from foveal.zoo.load import load_backbone, load_classifier
from foveal.zoo.pretrained import Pretrained
from foveal.zoo.restorers import create_restorer, list_restorers

__all__ = [
    "Pretrained",
    "create_backbone",
    "create_classifier",
    "create_restorer",
    "list_backbones",
    "list_restorers",
    "load_backbone",
    "load_classifier",
]
