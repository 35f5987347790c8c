"""What of a model is compiled: the parts that are only tensors in and tensors out."""

from __future__ import annotations

from typing import Any

from torch import nn

# of detectors, segmentors, classifiers and restorers; a whole step, with padding, assignment and sampling, takes the
# compiler minutes, or is more than it can do
_PARTS = ("backbone", "neck", "generator")


def compile_network(model: nn.Module, **arguments: Any) -> list[str]:
    """Have the parts of a model compiled in place, each when it first runs.

    Args:
        model: Any of Foveal's, not wrapped.
        arguments: Those of ``torch.compile``.

    Returns:
        Names of the parts.

    Raises:
        RuntimeError: If torch has no such backend or mode.
        TypeError: If ``torch.compile`` has no such argument.
    """
    parts = [name for name in _PARTS if isinstance(getattr(model, name, None), nn.Module)]
    for name in parts:
        getattr(model, name).compile(**arguments)
    return parts
