"""Restoration networks by name."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.errors import ConfigError
from foveal.models.restorer import Restorer
from foveal.registry import MODELS, accepted_arguments, lookup, nearest

# Arguments of `Restorer`; luminance is one channel, which has no order to turn round.
_LUMINANCE = {"data_preprocessor": {"type": "DataPreprocessor", "mean": [0.0], "std": [255.0]}}
RESTORERS: dict[str, dict[str, Any]] = {
    **{f"cfsr_x{s}": {"generator": {"type": "CFSR", "scale": s}} for s in (2, 3, 4)},
    **{f"espcn_x{s}": {"generator": {"type": "ESPCNNet", "scale": s}, **_LUMINANCE} for s in (2, 3, 4, 8)},
}


def list_restorers(pattern: str = "*") -> list[str]:
    """Return the names that `create_restorer` takes.

    Args:
        pattern: With the wildcards ``*`` and ``?``.
    """
    return [name for name in RESTORERS if fnmatchcase(name, pattern)]


def create_restorer(name: str, checkpoint: str | Path | None = None, **kwargs: Any) -> Restorer:
    """Build a restoration network: images [N, C, H, W] in [0, 1] to [N, C, H * s, W * s]; RGB, but ESPCN luminance.

    Args:
        name: One of `list_restorers`.
        checkpoint: File or URL, in the official release's own format or in ours. None: initialised at random.
        **kwargs: Arguments of the network's class, such as ``embed_dim``, and of `Restorer`, such as ``pixel_loss``.

    Returns:
        The network, in training mode.

    Raises:
        ConfigError: If the name or an argument is unknown.
        CheckpointError: If the file is unreadable or does not fit.
    """
    if name not in RESTORERS:
        near = nearest(name, RESTORERS, 5) or list(RESTORERS)
        raise ConfigError(f"no restorer is called {name!r}; nearest names: {', '.join(near)}")
    node = copy.deepcopy(RESTORERS[name])
    network = accepted_arguments(lookup(node["generator"]["type"], MODELS)) or set()
    own = (accepted_arguments(Restorer) or set()) | (set(kwargs) - network)
    node["generator"].update({key: value for key, value in kwargs.items() if key not in own})
    model = MODELS.build({"type": Restorer, **node, **{key: value for key, value in kwargs.items() if key in own}})
    if checkpoint is not None:
        load_state_dict(model, extract_state_dict(load_checkpoint(checkpoint)), checkpoint)
    return model
