"""Reading a config: mmengine's Python configs, with every override and component checked first."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from foveal.config.check import check_config, check_options, check_overrides
from foveal.config.defaults import apply_defaults
from foveal.config.family import adapt_to_foveal, is_family_package
from foveal.config.kinds import check_kinds
from foveal.config.origin import OPTIONS, Key, Origin, read_config_file, trace
from foveal.errors import ConfigError
from foveal.registry import nearest


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read, merge, complete and check a config.

    Args:
        path: A Python, YAML or JSON config of mmengine's kind; of the configs that travel with the package, the part
            after ``configs/`` suffices.
        options: Overrides by dotted path, as ``--cfg-options`` gives them; ``{"model.backbone.depth": 18}``.

    Returns:
        The config with our defaults filled in, ready for `foveal.engine.Runner`.

    Raises:
        ConfigError: One sentence with file, line and key: missing file, Python error in it, unknown type or argument,
            override that overrides nothing.
    """
    file = find_config(path)
    config = _from_file(file)
    foreign = config.get("default_scope", "foveal") != "foveal"
    for finding in _check_chain(file, foreign):
        print_log(f"config: {finding}", logger="current", level=logging.WARNING)
    if options:
        check_options(config._cfg_dict, options)
        try:
            config.merge_from_dict(options)
        except TypeError as error:  # a dict in place of something else, without _delete_
            raise ConfigError(f"--cfg-options: {str(error).replace('in child config', 'of the options')}") from error
    origins = trace_with_options(file, options)
    check_kinds(config._cfg_dict, origins)
    if foreign:
        adapt_to_foveal(config)
    apply_defaults(config)
    check_config(config._cfg_dict, origins)
    return config


def trace_with_options(path: Path, options: dict[str, Any] | None) -> dict[Key, Origin]:
    """Return `trace` of a config, with the keys that ``--cfg-options`` gave marked as such."""
    origins = trace(path)
    for name in options or {}:
        key: Key = tuple(int(p) if p.isdigit() else p for p in name.split("."))
        origins[key] = Origin(OPTIONS, 0)
    return origins


def find_config(path: str | Path) -> Path:
    """Return the config file that ``path`` names: as given, or below the packaged configs.

    Raises:
        ConfigError: If there is none; with the nearest names.
    """
    given = Path(path)
    roots = packaged_config_folders()
    below = [root / Path(*given.parts[1:] if given.parts[:1] == ("configs",) else given.parts) for root in roots]
    for candidate in (given, *below):
        if candidate.is_file():
            return candidate
    if given.is_dir():
        raise ConfigError(f"config {path} is a folder, expected a file")
    known = {p.name: p for root in roots for p in root.rglob("*.py")}
    known.update({p.name: p for p in given.parent.glob("*.py")} if given.parent.is_dir() else {})
    near = [str(known[name]) for name in nearest(given.name, known)]
    raise ConfigError(f"config {path} does not exist" + (f"; nearest names: {', '.join(near)}" if near else ""))


def packaged_config_folders() -> list[Path]:
    """Return the folders of the configs that travel with the package."""
    import foveal

    return [folder for root in foveal.__path__ if (folder := Path(root) / "configs").is_dir()]


def _from_file(file: Path) -> Config:
    try:
        trace(file)  # mmengine's error for bad syntax has no file name
        config = Config.fromfile(str(file), import_custom_modules=False)
        _import_custom_modules(config)
        return config
    except SyntaxError as error:
        raise ConfigError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: {error}") from error
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(".py")]
        inside = [f for f in frames if Path(f.filename).parent == file.parent or f.filename.startswith("<")]
        place = f"{file}:{inside[-1].lineno}" if inside else str(file)
        raise ConfigError(f"{place}: {type(error).__name__}: {error}") from error


def _import_custom_modules(config: Config) -> None:
    """Import what ``custom_imports`` names, but for the toolboxes whose names Foveal serves itself."""
    custom = config.get("custom_imports")
    if not custom:
        return
    imports = custom.get("imports") or []
    modules = [imports] if isinstance(imports, str) else list(imports)
    own = [module for module in modules if not is_family_package(module)]
    if own:
        import_modules_from_strings(own, allow_failed_imports=custom.get("allow_failed_imports", False))
    # the runner would import them once more
    config.custom_imports = {**custom, "imports": own}


def _check_chain(file: Path, foreign: bool) -> list[str]:
    """Check the overrides of a file and of each of its bases."""
    bases = read_config_file(file).bases
    if not bases:
        return []
    findings = [finding for base in bases for finding in _check_chain(base, foreign)]
    merged: dict[str, Any] = {}
    for base in bases:
        merged.update(_from_file(base)._cfg_dict.to_dict())
    return findings + check_overrides(file, merged, _from_file(file)._cfg_dict.to_dict(), foreign)
