"""mmengine's own checkpoint loading, led through ours.

mmengine reads ``init_cfg=dict(type='Pretrained', …)`` and ``load_from`` by itself: 0.10.7 breaks on torch >= 2.6 where
a file holds more than tensors, 0.11 and the maintained continuation unpickle it. Its loader is a public table from URL
prefix to function; ours takes every prefix.
"""

from typing import Any

from mmengine.runner import CheckpointLoader

from foveal.engine.checkpoint import load_checkpoint
from foveal.errors import CheckpointError


def load_from_foveal(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a local file, URL or torchvision name, weights only; mmengine's loader signature."""
    return load_checkpoint(filename, map_location if isinstance(map_location, str) else "cpu")


def load_from_nowhere(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Refuse a source that only exists inside OpenMMLab."""
    raise CheckpointError(
        f"{filename}: this kind of address is not served any more; give a file, a URL or torchvision://"
    )


def install() -> None:
    """Replace mmengine's loaders. Calling it again changes nothing."""
    ours = ["", "http://", "https://", "modelzoo://", "torchvision://"]
    gone = ["pavi://", r"(\S+\:)?s3://", r"(\S+\:)?petrel://", "open-mmlab://", "openmmlab://", "mmcls://"]
    CheckpointLoader.register_scheme(prefixes=ours, loader=load_from_foveal, force=True)
    CheckpointLoader.register_scheme(prefixes=gone, loader=load_from_nowhere, force=True)
