"""Where each key of a config comes from: the file and line that gave it its value."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str | int, ...]
OPTIONS = "--cfg-options"
"""The file of an `Origin` on the command line."""


@dataclass(frozen=True)
class Origin:
    """A place in a config file; ``line`` is 0 for files that are not Python."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass
class ConfigFile:
    """One config file, read without running it.

    Attributes:
        path: The file.
        bases: Files named by ``_base_``, in order.
        keys: Paths of all keys that this file itself writes, to their lines.
        deleted: Paths of dicts marked ``_delete_=True``: they replace the base's.
        used: Names that expressions in the file read.
    """

    path: Path
    bases: list[Path] = field(default_factory=list)
    keys: dict[Key, int] = field(default_factory=dict)
    deleted: set[Key] = field(default_factory=set)
    used: set[str] = field(default_factory=set)


def read_config_file(path: Path) -> ConfigFile:
    """Parse a Python config into the keys that it writes; other formats give no keys.

    Raises:
        SyntaxError: If it is not valid Python.
    """
    file = ConfigFile(path)
    if path.suffix != ".py":
        return file
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    file.used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    values: dict[str, ast.expr] = {}
    for statement in tree.body:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
            continue
        value = statement.value
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            if isinstance(target, ast.Name) and target.id == "_base_":
                names = ast.literal_eval(value)
                file.bases = [path.parent / n for n in ([names] if isinstance(names, str) else names)]
                continue
            key = _target_key(target)
            if key is None:
                continue
            _forget(file.keys, key)
            _record(file, key, value, target.lineno, values)
            if len(key) == 1:
                values[str(key[0])] = value
    return file


def trace(path: Path) -> dict[Key, Origin]:
    """Return the origin of every key that a config and its bases write.

    Args:
        path: A config file.

    Returns:
        Key paths to the place that wrote last. A key that a base wrote and a child replaced is the child's.
    """
    file = read_config_file(path)
    origins: dict[Key, Origin] = {}
    for base in file.bases:
        origins.update(trace(base))
    for key in file.deleted:
        _forget(origins, key)
    for key, line in file.keys.items():
        if _is_leaf(key, file.keys):
            _forget(origins, key)
        origins[key] = Origin(_short(path), line)
    return origins


def origin_of(key: Key, origins: dict[Key, Origin]) -> Origin | None:
    """Return the origin of ``key``, or of the nearest part above it that is known."""
    while key:
        if key in origins:
            return origins[key]
        key = key[:-1]
    return None


def flatten(config: Any, key: Key = ()) -> dict[Key, Any]:
    """Return the leaves of nested dicts and lists by their paths; empty dicts and lists are leaves."""
    items: list[tuple[str | int, Any]]
    if isinstance(config, dict) and config:
        items = list(config.items())
    elif isinstance(config, (list, tuple)) and any(isinstance(v, dict) for v in config):
        items = list(enumerate(config))
    else:
        return {key: config}
    leaves: dict[Key, Any] = {}
    for name, value in items:
        leaves.update(flatten(value, (*key, name)))
    return leaves


def dotted(key: Key) -> str:
    """Write a path as ``--cfg-options`` takes it: ``train_dataloader.dataset.pipeline.0.type``."""
    return ".".join(map(str, key))


def _target_key(target: ast.expr) -> Key | None:
    """The path that an assignment writes: ``a``, ``a['b']``, ``a.b``; None for anything else."""
    if isinstance(target, ast.Name):
        return (target.id,)
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        index = target.slice.value
        head, last = _target_key(target.value), index if isinstance(index, int) else str(index)
    elif isinstance(target, ast.Attribute):
        head, last = _target_key(target.value), target.attr
    else:
        return None
    return None if head is None else (*head, last)


def _record(file: ConfigFile, key: Key, value: ast.expr, line: int, values: dict[str, ast.expr]) -> None:
    file.keys[key] = line
    if isinstance(value, ast.Name) and value.id in values:
        # the key is written here, what is inside it where the variable was
        _record(file, key, values[value.id], line, values)
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        for keyword in value.keywords:
            if keyword.arg is None:
                _record(file, key, keyword.value, line, values)
            elif keyword.arg == "_delete_":
                file.deleted.add(key)
            else:
                _record(file, (*key, keyword.arg), keyword.value, keyword.value.lineno, values)
        file.keys[key] = line
    elif isinstance(value, ast.Dict):
        for name, inner in zip(value.keys, value.values, strict=True):
            if isinstance(name, ast.Constant):
                _record(file, (*key, str(name.value)), inner, name.lineno, values)
    elif isinstance(value, (ast.List, ast.Tuple)):
        for index, inner in enumerate(value.elts):
            if isinstance(inner, (ast.Dict, ast.Call, ast.Name)):
                _record(file, (*key, index), inner, inner.lineno, values)


def _is_leaf(key: Key, keys: dict[Key, int]) -> bool:
    return not any(len(other) > len(key) and other[: len(key)] == key for other in keys)


def _forget(keys: dict[Key, Any], key: Key) -> None:
    """Drop ``key`` and all that is below it."""
    for other in [k for k in keys if k[: len(key)] == key]:
        del keys[other]


def _short(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
