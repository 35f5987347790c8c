"""Checks of a resolved config before anything is built: every ``type`` exists, every argument is taken."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine import registry as mm
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from foveal import registry as ours
from foveal.config.origin import ConfigFile, Key, Origin, dotted, origin_of, read_config_file
from foveal.errors import ConfigError
from foveal.registry import accepted_arguments, lookup, nearest, unknown_arguments, unknown_type

_LOADER_KEYS = {p for p in inspect.signature(DataLoader).parameters if p != "self"} | {
    "num_batch_per_epoch",
    "disable_subprocess_warning",
}
_RUNNER_KEYS = {p for p in inspect.signature(Runner.__init__).parameters if p not in ("self", "cfg")} | {
    "activation_checkpointing",
    "backend_args",
    "compile",
    "custom_imports",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "load_partial",
    "model_wrapper_cfg",
    "sync_bn",
    "tta_model",
    "tta_pipeline",
}
_PLAIN_KEYS: dict[str, set[str]] = {
    "randomness": {"seed", "deterministic", "diff_rank_seed"},
    "env_cfg": {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"},
    "auto_scale_lr": {"enable", "base_batch_size"},
}
_MODEL = (ours.MODELS, ours.TASK_UTILS, ours.WEIGHT_INITIALIZERS)
# The registry of a component is known from the key that holds it, at any depth; what is below keeps it.
_BY_KEY: dict[str, tuple[mm.Registry, ...]] = {
    "model": _MODEL,
    "tta_model": _MODEL,
    "data_preprocessor": _MODEL,
    "dataset": (ours.DATASETS,),
    "datasets": (ours.DATASETS,),
    "pipeline": (ours.TRANSFORMS,),
    "tta_pipeline": (ours.TRANSFORMS,),
    "switch_pipeline": (ours.TRANSFORMS,),
    "batch_sampler": (ours.DATA_SAMPLERS,),
    "collate_fn": (ours.FUNCTIONS,),
    "worker_init_fn": (ours.FUNCTIONS,),
    "train_evaluator": (ours.METRICS, ours.EVALUATORS),
    "val_evaluator": (ours.METRICS, ours.EVALUATORS),
    "test_evaluator": (ours.METRICS, ours.EVALUATORS),
    "default_hooks": (ours.HOOKS,),
    "custom_hooks": (ours.HOOKS,),
    "optim_wrapper": (ours.OPTIM_WRAPPERS,),
    "optimizer": (ours.OPTIMIZERS,),
    "param_scheduler": (ours.PARAM_SCHEDULERS,),
    "visualizer": (ours.VISUALIZERS,),
    "vis_backends": (ours.VISBACKENDS,),
    "log_processor": (ours.LOG_PROCESSORS,),
}
# Arguments that mmengine and mmcv take from the node before they call the class.
_TAKEN_OUT = {
    "custom_hooks": {"priority"},
    "default_hooks": {"priority"},
    "param_scheduler": {"convert_to_iter_based"},
    "optim_wrapper": {"constructor", "paramwise_cfg"},
    "norm_cfg": {"requires_grad"},
}
_LISTS = {
    "pipeline",
    "switch_pipeline",
    "custom_hooks",
    "vis_backends",
    "param_scheduler",
    "val_evaluator",
    "test_evaluator",
}
# what components understand themselves: kinds of suppression, and of HorNet's convolution
_OWN_WORDS = {"nms", "soft_nms", "gnconv", "gngf"}


def check_config(config: dict[str, Any], origins: dict[Key, Origin]) -> None:
    """Check every component that a config names.

    Args:
        config: The resolved config.
        origins: Where its keys come from, for messages.

    Raises:
        ConfigError: Unknown type, unknown argument, or unknown key of a data loader and the like; with the path of the
            node and its file and line.
    """
    for key, node, registries in _components(config):
        problem = _problem(key, node, registries)
        if problem is not None:
            # the line of the wrong argument, else of the type, else of the node
            wrong = [name for name in node if f"{name!r}" in problem] + ["type"]
            place = origins.get((*key, wrong[0])) or origin_of(key, origins)
            raise ConfigError(f"{dotted(key)}{f' ({place})' if place else ''}: {problem}")


def check_options(config: dict[str, Any], options: dict[str, Any]) -> None:
    """Check that every key of ``--cfg-options`` overrides something, or is an argument that its component takes.

    Raises:
        ConfigError: With the nearest key that exists.
    """
    for name in options:
        parts: Key = tuple(int(p) if p.isdigit() else p for p in name.split("."))
        _check_option(config, name, parts)
        if len(parts) == 1 and parts[0] not in _RUNNER_KEYS:
            raise ConfigError(
                f"--cfg-options {name}: {name} is a helper variable that the config has used already, "
                f"changing it has no effect; name the key itself{_users(config, parts[0])}"
            )


def check_overrides(path: Path, base: dict[str, Any], config: dict[str, Any], foreign: bool) -> list[str]:
    """Check the keys that a config file adds to its bases.

    Args:
        path: The file.
        base: Its bases, resolved and merged.
        config: The file with its bases, resolved.
        foreign: The config was written for another toolbox of the family: report instead of raising.

    Returns:
        The findings, where ``foreign``; else an empty list.

    Raises:
        ConfigError: A key overrides nothing, is no argument of a component, and is used by nothing.
    """
    file = read_config_file(path)
    findings = []
    for key, line in sorted(file.keys.items(), key=lambda item: item[1]):
        problem = _overrides_nothing(key, file, base, config)
        if problem is not None:
            findings.append(f"{path}:{line}: {dotted(key)} {problem}")
    if findings and not foreign:
        raise ConfigError(findings[0])
    return findings


def _components(node: Any, key: Key = (), registries: tuple[mm.Registry, ...] = ()) -> Iterator[Any]:
    """Every dict that names or holds components, with its path and the registries its type may be in."""
    if isinstance(node, (list, tuple)):
        for index, inner in enumerate(node):
            if key and key[-1] in _LISTS and not isinstance(inner, (dict, list, tuple)):
                raise ConfigError(f"{dotted((*key, index))}: expected a dict with 'type', got {inner!r}")
            yield from _components(inner, (*key, index), registries)
    elif isinstance(node, dict):
        yield key, node, registries
        for name, inner in node.items():
            if not key and name not in _RUNNER_KEYS:
                continue  # a helper variable: its content is checked where it is used
            if node.get("type") == "Albu" and name == "transforms":
                continue  # albumentations' names, checked by the transform itself
            # the names of the default hooks are free, and one is param_scheduler
            below = registries if key == ("default_hooks",) else _BY_KEY.get(str(name), registries)
            if name == "sampler" and str(key[-1] if key else "").endswith("_dataloader"):
                below = (ours.DATA_SAMPLERS,)
            if len(key) == 0 and name in ("train_cfg", "val_cfg", "test_cfg"):
                below = (ours.LOOPS,)
            yield from _components(inner, (*key, name), below)


def _problem(key: Key, node: dict[str, Any], registries: tuple[mm.Registry, ...]) -> str | None:
    last = next((str(k) for k in reversed(key) if isinstance(k, str)), "")
    constructor = node.get("constructor") if last == "optim_wrapper" else None
    if isinstance(constructor, str) and lookup(constructor, ours.OPTIM_WRAPPER_CONSTRUCTORS) is None:
        return f"'constructor': {unknown_type(constructor, ours.OPTIM_WRAPPER_CONSTRUCTORS)}"
    kind = node.get("type")
    if kind is None:
        allowed = _LOADER_KEYS if last.endswith("_dataloader") and len(key) == 1 else _PLAIN_KEYS.get(last)
        wrong = sorted(set(node) - allowed) if allowed is not None else []
        return f"unknown key {_with_hint(wrong[0], allowed or set())}" if wrong else None
    if not registries or (isinstance(kind, str) and kind in _OWN_WORDS):
        return None
    target = kind
    if isinstance(kind, str):
        target = next((t for t in (lookup(kind, r) for r in registries) if t is not None), None)
        if target is None:
            if "." in kind and not kind.startswith(("mmdet.", "mmseg.", "mmpretrain.", "mmagic.", "mmengine.")):
                return None  # a full import path, resolved when it is built
            return _unknown_in(kind, registries)
    given = set(node) - {"type", "_scope_"} - _taken_out(key)
    return unknown_arguments(target, given) if callable(target) else None


def _taken_out(key: Key) -> set[str]:
    """What the node may hold beside its component's arguments."""
    holder = "default_hooks" if key[0] == "default_hooks" else next(k for k in reversed(key) if isinstance(k, str))
    return _TAKEN_OUT.get(holder, set())


def _unknown_in(kind: str, registries: tuple[mm.Registry, ...]) -> str:
    known = {name for r in registries for node in (r, *_parents(r)) for name in node.module_dict}
    near = nearest(kind.rpartition(".")[2], known)
    if near:
        return f"no {kind!r} in the {registries[0].name} registry; nearest names: {', '.join(near)}"
    return unknown_type(kind, registries[0])


def _parents(registry: mm.Registry) -> Iterator[mm.Registry]:
    while registry.parent is not None:
        registry = registry.parent
        yield registry


def _check_option(config: Any, name: str, parts: Key) -> None:
    node: Any = config
    for depth, part in enumerate(parts):
        if isinstance(node, (list, tuple)) and isinstance(part, int):
            if part >= len(node):
                raise ConfigError(f"--cfg-options {name}: {dotted(parts[:depth])} has {len(node)} entries")
            node = node[part]
            continue
        if not isinstance(node, dict):
            raise ConfigError(f"--cfg-options {name}: {dotted(parts[:depth])} is {node!r}, it has no key {part!r}")
        if part not in node:
            known = set(map(str, node)) | _arguments_of(node, parts[:depth])
            if str(part) in known:
                return
            raise ConfigError(f"--cfg-options {name} overrides nothing: {_near_path(parts[:depth], str(part), known)}")
        node = node[part]


def _near_path(head: Key, part: str, known: set[str]) -> str:
    near = nearest(part, known, 1)
    here = dotted(head) or "the config"
    if near:
        return f"{here} has no {part!r}; did you mean {dotted((*head, near[0]))}?"
    return f"{here} has no {part!r}; it has {', '.join(sorted(known))}"


def _arguments_of(node: dict[str, Any], key: Key) -> set[str]:
    """What a node may hold beyond what it holds: its component's arguments, or the known keys of a plain node."""
    if not key:
        return _RUNNER_KEYS
    last = str(key[-1])
    if "type" not in node:
        return _LOADER_KEYS if last.endswith("_dataloader") else _PLAIN_KEYS.get(last, set())
    registries = next((_BY_KEY[str(k)] for k in reversed(key) if str(k) in _BY_KEY), ())
    if last == "sampler" and len(key) == 2:
        registries = (ours.DATA_SAMPLERS,)
    target = next((t for t in (lookup(str(node["type"]), r) for r in registries) if t is not None), None)
    return (accepted_arguments(target) or set()) | _taken_out(key) if target is not None else set()


def _overrides_nothing(key: Key, file: ConfigFile, base: dict[str, Any], config: dict[str, Any]) -> str | None:
    if any(key[: len(d)] == d for d in file.deleted) or any(isinstance(k, int) for k in key):
        return None
    parent: Any = base
    here: Any = config
    for part in key[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else None
        here = here.get(part) if isinstance(here, dict) else None
    if not isinstance(parent, dict) or not isinstance(here, dict) or key[-1] in parent:
        return None  # a new or replaced subtree, or a real override
    name = str(key[-1])
    if len(key) == 1:
        if name in _RUNNER_KEYS or name in file.used or name.startswith("_"):
            return None
        near = nearest(name, {str(k) for k in base} | _RUNNER_KEYS, 1)
        return "overrides nothing and nothing uses it" + (f"; did you mean {near[0]!r}?" if near else "")
    if not parent or name in _arguments_of(here, key[:-1]):
        return None
    if "type" not in here and not nearest(name, map(str, parent), 1):
        return None  # plain dicts such as test_cfg may grow
    if "type" in here and here.get("type") != parent.get("type"):
        return None  # another component: its own arguments are checked later
    return f"overrides nothing{_hint(name, set(map(str, parent)) | _arguments_of(here, key[:-1]))}"


def _hint(name: str, known: set[str]) -> str:
    near = nearest(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; the base has {', '.join(sorted(known))}"


def _with_hint(name: str, known: set[str]) -> str:
    return f"{name!r}{_hint(name, known).replace('the base has', 'known keys are')}"


def _users(config: dict[str, Any], name: Any) -> str:
    """Up to three keys whose value is that of the helper variable."""
    value = config[name]
    found = []

    def walk(node: Any, key: Key) -> None:
        if key and key != (name,) and node == value and key[0] in _RUNNER_KEYS:
            found.append(dotted(key))
        elif isinstance(node, dict):
            for k, v in node.items():
                walk(v, (*key, k))
        elif isinstance(node, (list, tuple)):
            for i, v in enumerate(node):
                walk(v, (*key, i))

    if not isinstance(value, (bool, type(None))):
        walk(config, ())
    return f", such as {', '.join(found[:3])}" if found else ""
