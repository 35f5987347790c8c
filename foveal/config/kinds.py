"""Checks of a resolved config before defaults are filled in: dicts, lists and numbers are where they belong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from foveal.config.origin import Key, Origin, dotted, origin_of
from foveal.errors import ConfigError

_DICTS = {
    *(f"{phase}_{part}" for phase in ("train", "val", "test") for part in ("dataloader", "cfg")),
    *("model", "data_preprocessor", "tta_model", "optim_wrapper", "default_hooks", "visualizer", "model_wrapper_cfg"),
    *("randomness", "env_cfg", "log_processor", "auto_scale_lr"),
}
_LISTS_OR_DICTS = {"param_scheduler", "train_evaluator", "val_evaluator", "test_evaluator"}
_ONLY_LISTS = {"custom_hooks", "tta_pipeline"}
# mmengine does without the others
_NEVER_NONE = {"randomness", "env_cfg"}


# numbers, and the least that they can be
_NUMBERS = {"batch_size": 1, "num_workers": 0, "max_iters": 1, "max_epochs": 1, "val_interval": 1}
# of a loader and an optim_wrapper
_HELD = ("dataset", "optimizer")


def check_kinds(config: dict[str, Any], origins: dict[Key, Origin]) -> None:
    """Check that dicts, lists and numbers are where they belong.

    Args:
        config: The resolved config, before defaults are filled in.
        origins: Where its keys come from, for messages.

    Raises:
        ConfigError: With the key, its file and line, and what belongs there.
    """
    for key, value, wanted in _kinds(config):
        if wanted is not None:
            place = origin_of(key, origins)
            raise ConfigError(f"{dotted(key)}{f' ({place})' if place else ''} must be {wanted}, got {value!r}")


def _kinds(config: dict[str, Any]) -> Iterator[tuple[Key, Any, str | None]]:
    """Keys, what they hold, and what they should: None where it is right."""
    for name, value in config.items():
        yield (name,), value, _wanted_kind(name, value)
        if name not in _DICTS or not isinstance(value, dict):
            continue
        for inner, held in value.items():
            least = _NUMBERS.get(inner) if name.endswith(("_dataloader", "_cfg")) else None
            left_to_sampler = inner == "batch_size" and held is None and value.get("batch_sampler")
            if least is not None and not left_to_sampler and not (type(held) is int and held >= least):
                yield (name, inner), held, f"a whole number, at least {least}"
            if name == "default_hooks" and held is not None and not isinstance(held, dict):
                yield (name, inner), held, "a dict with 'type'"
            if inner in _HELD and isinstance(held, (str, int, float, list, type(None))):
                yield (name, inner), held, "a dict with 'type'"
            if inner == "sampler" and isinstance(held, (str, int, float)):
                yield (name, inner), held, "a dict with 'type'"


def _wanted_kind(name: str, value: Any) -> str | None:
    """What belongs where something else stands; None: it is right."""
    if name == "log_level":
        known = isinstance(value, str) and isinstance(logging.getLevelName(value), int)
        return None if known or isinstance(value, int) else "one of DEBUG, INFO, WARNING, ERROR"
    if value is None:
        return "a dict" if name in _NEVER_NONE else None
    if name in _DICTS and not isinstance(value, dict):
        return "a dict"
    if name in _ONLY_LISTS and not isinstance(value, (list, tuple)):
        return "a list"
    if name in _LISTS_OR_DICTS and not isinstance(value, (list, tuple, dict)):
        return "a dict or a list of dicts"
    return None
