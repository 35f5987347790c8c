"""Files whose names or shapes are not quite ours, as the part that they are for reads them."""

from __future__ import annotations

from typing import Any


def adapt(module: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Call a module's ``adapt_state_dict(state_dict, prefix)``: as torch's hook before it loads.

    Foveal's own loading calls the method by itself, before it compares names and shapes.

    Args:
        module: It has the method.
        state_dict: Changed in place.
        prefix: Of the module's names, with its point.
    """
    module.adapt_state_dict(state_dict, prefix)
