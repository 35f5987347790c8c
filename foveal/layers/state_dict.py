"""Files whose names or shapes are not quite ours, as the part that they are for reads them."""

from __future__ import annotations

from collections.abc import Callable
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


def take_over(
    state_dict: dict[str, Any], theirs: str, prefix: str, rename: Callable[[str], str | None] = lambda name: name
) -> None:
    """Rename what another network keeps below ``theirs`` to what a part of ours has below ``prefix``.

    Args:
        state_dict: Changed in place.
        theirs: Beginning of the names in the file, with its point.
        prefix: Of the part's names, with its point.
        rename: From the rest of a name to ours; None: left out.
    """
    for key in [key for key in state_dict if key.startswith(theirs)]:
        value, name = state_dict.pop(key), rename(key.removeprefix(theirs))
        if name is not None:
            state_dict[prefix + name] = value
