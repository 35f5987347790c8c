"""Foveal: vision backbones and dense prediction. The model folders at the repository's top level are sub-packages."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A wheel holds backbones/, necks/, heads/ … inside this folder; a checkout holds them beside it.
_HERE = Path(__file__).resolve().parent
if not (_HERE / "backbones" / "__init__.py").is_file():
    __path__.append(str(_HERE.parent))

if TYPE_CHECKING:
    from foveal.api import init_model, load_checkpoint, predict
    from foveal.restoration import restore, restore_video
    from foveal.zoo import create_backbone, create_classifier, create_restorer, list_backbones, list_restorers

__all__ = [
    "create_backbone",
    "create_classifier",
    "create_restorer",
    "init_model",
    "list_backbones",
    "list_restorers",
    "load_checkpoint",
    "predict",
    "restore",
    "restore_video",
]


def __getattr__(name: str) -> Any:
    """Import what a user calls when it is first asked for: ``import foveal`` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    homes = dict.fromkeys(("init_model", "load_checkpoint", "predict"), "foveal.api")
    homes |= dict.fromkeys(("restore", "restore_video"), "foveal.restoration")
    return getattr(import_module(homes.get(name, "foveal.zoo")), name)
