"""Foveal: vision backbones and dense prediction. The model folders at the repository's top level are sub-packages."""

from pathlib import Path

__version__ = "0.1.0"

# A wheel holds backbones/, necks/, heads/ … inside this folder; a checkout holds them beside it.
_HERE = Path(__file__).resolve().parent
if not (_HERE / "backbones" / "__init__.py").is_file():
    __path__.append(str(_HERE.parent))
