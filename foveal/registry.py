"""The registries: tables from the name that a config's ``type`` gives to the class that it builds.

Each is a child of mmengine's registry of the same kind, so what mmengine and mmcv register (hooks, loops,
optimisers, transforms) is found too. Registration happens on import; a registry imports its folders when it is
first asked for a name.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from mmengine import registry as mm
from mmengine.utils import ManagerMixin

from foveal.errors import ConfigError

SCOPE = "foveal"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` of the ``known`` names that look most like ``name``, best first."""
    by_lower = {k.lower(): k for k in known}
    return [by_lower[k] for k in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]


def accepted_arguments(target: Any) -> set[str] | None:
    """Return the keyword arguments that ``target`` (a class or function) takes, or None where it takes any.

    A ``**kwargs`` in a class's constructor is followed up the classes it inherits from; one that none of them takes up
    goes elsewhere, so anything may be meant.
    """
    if not inspect.isclass(target):
        own = inspect.signature(target).parameters.values()
        return None if any(p.kind is p.VAR_KEYWORD for p in own) else {p.name for p in own}
    names: set[str] = set()
    for cls in target.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


def unknown_type(name: str, registry: mm.Registry) -> str:
    """Return the sentence for a ``type`` that ``registry`` does not hold: where it was looked up, the nearest names."""
    known = set(registry.module_dict)
    parent = registry.parent
    while parent is not None:
        known |= set(parent.module_dict)
        parent = parent.parent
    near = nearest(name, known)
    hint = f"nearest names: {', '.join(near)}" if near else f"known: {', '.join(sorted(registry.module_dict))}"
    return f"no {name!r} in the {registry.name} registry; {hint}"


def unknown_arguments(target: Any, given: Iterable[str]) -> str | None:
    """Return a sentence naming the arguments in ``given`` that ``target`` does not take, or None when it takes all."""
    accepted = accepted_arguments(target)
    if accepted is None:
        return None
    wrong = sorted(set(given) - accepted)
    if not wrong:
        return None
    hints = []
    for name in wrong:
        near = nearest(name, accepted, 1)
        hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    return f"{target.__name__} has no argument {', '.join(hints)}; it accepts {', '.join(sorted(accepted))}"


def missing_arguments(target: Any, given: Iterable[str]) -> list[str]:
    """Return the names of the arguments without a default that ``given`` lacks."""
    callee = target.__init__ if inspect.isclass(target) else target
    parameters = list(inspect.signature(callee).parameters.values())[1 if inspect.isclass(target) else 0 :]
    positional = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty and p.name not in set(given)]


class Registry(mm.Registry):
    """A child of an mmengine registry whose errors say what was expected.

    Args:
        name: What it holds, for messages.
        parent: mmengine's registry of the same kind.
        locations: Modules whose import registers this registry's entries.
    """

    def __init__(self, name: str, parent: mm.Registry, locations: Sequence[str] = ()) -> None:
        super().__init__(name, build_func=build_from_cfg, parent=parent, scope=SCOPE, locations=list(locations))

    def _register_module(self, module: Any, module_name: str | list[str] | None = None, force: bool = False) -> None:
        names = [module_name or module.__name__] if not isinstance(module_name, list) else module_name
        for name in names:
            known = self._module_dict.get(name)
            if known is not None and known is not module and not force:
                raise ConfigError(f"{name} is registered by {known.__module__} and again by {module.__module__}")
            self._module_dict[name] = module


def build_from_cfg(cfg: Any, registry: mm.Registry, default_args: dict[str, Any] | None = None) -> Any:
    """Call the class or function that ``cfg['type']`` names in ``registry`` with the other keys of ``cfg``.

    Args:
        cfg: A dict with the key ``type`` (a registered name, or the class itself) and keyword arguments.
        registry: Where the name is looked up.
        default_args: Arguments used where ``cfg`` does not give them.

    Returns:
        What the class or function returns.

    Raises:
        ConfigError: If the type is unknown, or an argument is unknown or missing.
    """
    if not isinstance(cfg, dict):
        raise ConfigError(f"a component of the {registry.name} registry must be a dict with 'type', got {cfg!r}")
    args = {**(default_args or {}), **cfg}
    if "type" not in args:
        raise ConfigError(f"a component of the {registry.name} registry lacks 'type': got keys {', '.join(args)}")
    kind = args.pop("type")
    args.pop("_scope_", None)
    target: Any = kind
    if isinstance(kind, str):
        target = lookup(kind, registry)
        if target is None:
            raise ConfigError(unknown_type(kind, registry))
    problem = unknown_arguments(target, args)
    if problem is not None:
        raise ConfigError(problem)
    absent = missing_arguments(target, args)
    if absent:
        raise ConfigError(f"{target.__name__} needs the argument {', '.join(map(repr, absent))}")
    # mmengine's classes build their parts through mmengine's registries, which find ours by this scope
    with mm.DefaultScope.overwrite_default_scope(SCOPE):
        managed = inspect.isclass(target) and issubclass(target, ManagerMixin)
        return target.get_instance(**args) if managed else target(**args)


def lookup(name: str, registry: mm.Registry) -> Any:
    """Return what ``registry`` or a parent of it holds under ``name``, or None. ``mmdet.X`` and ``mmseg.X`` mean X."""
    registry.import_from_location()
    name = name.rpartition(".")[2]
    node: mm.Registry | None = registry
    while node is not None:
        if name in node.module_dict:
            return node.module_dict[name]
        node.import_from_location()
        if name in node.module_dict:
            return node.module_dict[name]
        node = node.parent
    return None


_MODEL_FOLDERS = (
    "mmcv.cnn",
    "foveal.backbones",
    "foveal.necks",
    "foveal.heads",
    "foveal.models",
    "foveal.engine",
    "foveal.zoo",
)

MODELS = Registry("model", mm.MODELS, _MODEL_FOLDERS)
TASK_UTILS = Registry("task util", mm.TASK_UTILS, ("foveal.heads",))
DATASETS = Registry("dataset", mm.DATASETS, ("foveal.data",))
DATA_SAMPLERS = Registry("data sampler", mm.DATA_SAMPLERS, ("foveal.data",))
TRANSFORMS = Registry("transform", mm.TRANSFORMS, ("mmcv.transforms", "foveal.data"))
METRICS = Registry("metric", mm.METRICS, ("foveal.evaluation",))
# Nothing of ours is in these beyond a few classes; without a child of our scope mmengine warns at every look-up.
OPTIM_WRAPPERS = Registry("optimizer wrapper", mm.OPTIM_WRAPPERS, ("foveal.engine",))
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "optimizer wrapper constructor", mm.OPTIM_WRAPPER_CONSTRUCTORS, ("foveal.engine",)
)
OPTIMIZERS = Registry("optimizer", mm.OPTIMIZERS)
PARAM_SCHEDULERS = Registry("parameter scheduler", mm.PARAM_SCHEDULERS, ("foveal.engine",))
WEIGHT_INITIALIZERS = Registry("weight initializer", mm.WEIGHT_INITIALIZERS, ("foveal.zoo",))
LOG_PROCESSORS = Registry("log processor", mm.LOG_PROCESSORS)
EVALUATORS = Registry("evaluator", mm.EVALUATOR)
FUNCTIONS = Registry("function", mm.FUNCTIONS)
MODEL_WRAPPERS = Registry("model wrapper", mm.MODEL_WRAPPERS)
HOOKS = Registry("hook", mm.HOOKS, ("foveal.engine", "foveal.visualization"))
LOOPS = Registry("loop", mm.LOOPS, ("foveal.engine",))
VISUALIZERS = Registry("visualizer", mm.VISUALIZERS, ("foveal.visualization",))
VISBACKENDS = Registry("visualizer backend", mm.VISBACKENDS, ("foveal.visualization",))
