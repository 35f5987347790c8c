"""Text of a resolved config: one key a line, with the place it comes from; and the difference of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from foveal.config.load import find_config, load_config, trace_with_options
from foveal.config.origin import OPTIONS, Key, Origin, dotted, flatten, origin_of

DEFAULT = Origin("default", 0)


def show_config(path: str | Path, options: dict[str, Any] | None = None) -> Iterator[str]:
    """Yield ``key = value  # file:line`` for every key of a config, defaults included.

    Args:
        path: A config file.
        options: Overrides, as in `load_config`.
    """
    leaves, origins = _resolved(path, options)
    width = min(100, max((len(_line(k, v)) for k, v in leaves.items()), default=0))
    for key, value in leaves.items():
        yield f"{_line(key, value):<{width}}  # {origin_of(key, origins) or DEFAULT}"


def diff_configs(path: str | Path, other: str | Path, options: dict[str, Any] | None = None) -> Iterator[str]:
    """Yield the keys in which two configs differ: ``-`` lines of ``path``, ``+`` lines of ``other``."""
    left, left_origins = _resolved(path, options)
    right, right_origins = _resolved(other, None)
    for key in [*left, *(k for k in right if k not in left)]:
        if key in left and key in right and left[key] == right[key]:
            continue
        if key in left:
            yield f"- {_line(key, left[key])}  # {origin_of(key, left_origins) or DEFAULT}"
        if key in right:
            yield f"+ {_line(key, right[key])}  # {origin_of(key, right_origins) or DEFAULT}"


def _resolved(path: str | Path, options: dict[str, Any] | None) -> tuple[dict[Key, Any], dict[Key, Origin]]:
    leaves = flatten(load_config(path, options)._cfg_dict.to_dict())
    origins = trace_with_options(find_config(path), options)
    written = flatten(Config.fromfile(str(find_config(path)))._cfg_dict.to_dict())
    for key in leaves:
        origin = origin_of(key, origins)
        # filled in by us, inside a dict that the config begins
        if origin is not None and key not in written and origin.file != OPTIONS:
            origins[key] = DEFAULT
    return leaves, origins


def _line(key: Key, value: Any) -> str:
    return f"{dotted(key)} = {value!r}"
