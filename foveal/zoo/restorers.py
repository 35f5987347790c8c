"""Restoration networks by name."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.errors import ConfigError
from foveal.models.restorer import Restorer
from foveal.registry import MODELS, nearest

RESTORERS: dict[str, dict[str, Any]] = {
    f"espcn_x{scale}": {
        "type": "Restorer",
        "backbone": {"type": "ESPCN"},
        "head": {"type": "PixelShuffleHead", "scale": scale},
    }
    for scale in (2, 3, 4)
}


def list_restorers(pattern: str = "*") -> list[str]:
    """Return the names that `create_restorer` takes.

    Args:
        pattern: With the wildcards ``*`` and ``?``.
    """
    return [name for name in RESTORERS if fnmatchcase(name, pattern)]


def create_restorer(name: str, checkpoint: str | Path | None = None, **kwargs: Any) -> Restorer:
    """Build a restoration network: images [N, 3, H, W], RGB in [0, 1], to [N, 3, H * s, W * s].

    Args:
        name: One of `list_restorers`.
        checkpoint: File or URL. None: initialised at random.
        **kwargs: Arguments of `Restorer`, such as ``pixel_loss``.

    Returns:
        The network, in training mode.

    Raises:
        ConfigError: If the name or an argument is unknown.
        CheckpointError: If the file is unreadable or does not fit.
    """
    if name not in RESTORERS:
        near = nearest(name, RESTORERS, 5) or list(RESTORERS)
        raise ConfigError(f"no restorer is called {name!r}; nearest names: {', '.join(near)}")
    model = MODELS.build({**copy.deepcopy(RESTORERS[name]), **kwargs})
    if checkpoint is not None:
        load_state_dict(model, extract_state_dict(load_checkpoint(checkpoint)), checkpoint)
    return model
