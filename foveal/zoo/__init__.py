"""From a name that a user types to a network, with official weights where a file is given."""

from foveal.zoo.create import create_backbone, create_classifier, list_backbones
from foveal.zoo.fetch import fetch_weight, verify_weight
from foveal.zoo.importing import import_checkpoint
from foveal.zoo.index import Weight, find_weights, get_weight, list_weights
from foveal.zoo.load import load_backbone, load_classifier
from foveal.zoo.pretrained import Pretrained
from foveal.zoo.restorers import create_restorer, list_restorers

__all__ = [
    "Pretrained",
    "Weight",
    "create_backbone",
    "create_classifier",
    "create_restorer",
    "fetch_weight",
    "find_weights",
    "get_weight",
    "import_checkpoint",
    "list_backbones",
    "list_restorers",
    "list_weights",
    "load_backbone",
    "load_classifier",
    "verify_weight",
]
