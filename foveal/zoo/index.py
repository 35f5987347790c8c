"""The index of released weights: what is published about each official file, and what is counted of our network.

One YAML file a family under foveal/zoo/index/. Its head has ``repository``, ``commit`` and ``licence``; each entry of
``weights`` is a `Weight`. Nothing else in the project holds these facts; model_zoo.md is made from them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from foveal.errors import CheckpointError, ConfigError
from foveal.registry import nearest

FOLDER = Path(__file__).parent / "index"

TASKS = ("classification", "backbone", "detection", "segmentation", "panoptic", "restoration")

# pages for a browser: a program gets the page, not the file
_BROWSER_HOSTS = ("drive.google.com", "1drv.ms")
# hosts that are no more: this one's name ran out in 2026 (mmdetection issues 12446 and 12447), so what answers there
# now is anybody's
_GONE_HOSTS = ("download.openmmlab.com",)

_REQUIRED = {"name": str, "arch": str, "source": str, "task": str, "data": str, "params": dict, "metrics": dict}
_OPTIONAL = {
    "arguments": dict,
    "bytes": int,
    "config": str,
    "flops": dict,
    "hub": str,
    "method": str,
    "mirrors": list,
    "note": str,
    "options": dict,
    "page": str,
    "printed_for": dict,
    "sha256": str,
    "size": int,
    "wrapper": str,
}
_COUNTS = ("printed", "counted", "counted_for_printed")


@dataclass(frozen=True)
class Weight:
    """One released file.

    Args:
        name: Of the file, unique in the index: ``convnext_tiny_1k_224_ema``.
        arch: The name in `foveal.list_backbones` or `foveal.list_restorers` of the network that it is for; of a whole
            model whose backbone has no name there, the backbone's class.
        url: As published; None: not published for this file alone.
        source: Where the facts are: a file of the repository.
        task: ``classification``; ``backbone``: a trunk without its classification layer, or with one of unknown size;
            ``detection``, ``segmentation``, ``panoptic``: a whole model, of which `create_backbone` takes the backbone;
            ``restoration``: a network of `create_restorer`.
        data: What it was trained on, in that order.
        params: ``printed`` as published, and ``counted`` of the network that ``arch`` and ``arguments`` build: the
            classification network, else the backbone; with ``config`` of the whole model.
        metrics: Published scores in per cent.
        family: Of the index file: ``convnext``.
        repository: URL of the official code.
        licence: Of the repository, which the weights come under.
        commit: Of the repository when it was read.
        arguments: Of `create_classifier` or `create_backbone`, beside the name, that the file needs.
        bytes: Of the file, where it is known.
        config: Of a whole model that `foveal.init_model` builds by this entry's name: the file under configs/.
        flops: The same for multiply-accumulates, which the papers call FLOPs; at ``size``, see `count_macs`.
        hub: ``owner/repository/file`` on Hugging Face, where the official code downloads it.
        method: Of a whole model: head, schedule, crop.
        mirrors: More URLs of the same file.
        note: What else to know.
        options: What the model changes in ``config``, by dotted path.
        page: That links the file where ``url`` is None.
        printed_for: Arguments of the network, or changes of ``config``, that the printed counts are of, where it is
            another form of this one: ``counted_for_printed`` is its count.
        sha256: Of the file, or its first digits, if published.
        size: Side in pixels of the images that it was trained for and that the FLOPs are of.
        wrapper: Key of the file that the tensors are under; empty: none.
    """

    name: str
    arch: str
    url: str | None
    source: str
    task: str
    data: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    family: str
    repository: str
    licence: str
    commit: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    bytes: int | None = None
    config: str | None = None
    flops: dict[str, Any] = field(default_factory=dict)
    hub: str | None = None
    method: str | None = None
    mirrors: list[str] = field(default_factory=list)
    note: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    page: str | None = None
    printed_for: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    size: int | None = None
    wrapper: str | None = None

    @property
    def address(self) -> str | None:
        """URL that gives a program the file; None where only a browser gets it."""
        if self.hub is not None:
            owner, repository, file = self.hub.split("/", 2)
            return f"https://huggingface.co/{owner}/{repository}/resolve/main/{file}"
        return None if self.url is None or urlsplit(self.url).hostname in _BROWSER_HOSTS else self.url

    @property
    def unreachable(self) -> bool:
        """Whether the host that had the file is no more, and no other is known."""
        return self.hub is None and not self.mirrors and urlsplit(self.url or "").hostname in _GONE_HOSTS


def list_weights(pattern: str = "*") -> list[Weight]:
    """Return the entries whose name or arch matches a pattern with ``*`` and ``?``, by family."""
    return [w for w in _read(FOLDER) if fnmatchcase(w.name, pattern) or fnmatchcase(w.arch, pattern)]


def find_weights(arch: str) -> list[Weight]:
    """Return the entries for a name of `foveal.list_backbones`, the one to take first at the head."""
    return [weight for weight in _read(FOLDER) if weight.arch == arch]


def get_weight(name: str) -> Weight:
    """Return the entry of that name.

    Raises:
        ConfigError: If there is none; the message has the nearest names.
    """
    weights = {weight.name: weight for weight in _read(FOLDER)}
    if name not in weights:
        files = [weight.name for weight in find_weights(name)]
        if files:
            raise ConfigError(f"{name} is a network; the weights for it are called {', '.join(files)}")
        near = ", ".join(nearest(name, weights, 5))
        hint = f"nearest names: {near}" if near else "`foveal zoo list` has them all"
        raise ConfigError(f"the zoo has no weights called {name!r}; {hint}")
    return weights[name]


def default_weight(arch: str, tasks: Collection[str]) -> Weight:
    """Return the first entry for a network that a program can download, else the first.

    Args:
        arch: A name in `foveal.list_backbones`.
        tasks: Kinds of files that will do.

    Raises:
        CheckpointError: If there is none.
    """
    weights = [weight for weight in find_weights(arch) if weight.task in tasks]
    if not weights:
        raise CheckpointError(f"the zoo has no {' or '.join(tasks)} weights for {arch}; `foveal zoo list` has all")
    return next((weight for weight in weights if weight.address is not None and not weight.unreachable), weights[0])


def whole_model(name: str) -> Weight | None:
    """Return the entry of that name if it is of a whole model that a config of ours builds."""
    return next((weight for weight in _read(FOLDER) if weight.name == name and weight.config is not None), None)


@cache
def _read(folder: Path) -> tuple[Weight, ...]:
    weights: dict[str, Weight] = {}
    for path in sorted(folder.glob("*.yaml")):
        for weight in _read_family(path):
            if weight.name in weights:
                raise ConfigError(f"{path}, {weight.name}: {weights[weight.name].family}.yaml has this name too")
            weights[weight.name] = weight
    return tuple(weights.values())


def _read_family(path: Path) -> list[Weight]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    keys = {"repository", "commit", "licence", "weights"}
    if not isinstance(content, dict) or set(content) != keys or not isinstance(content["weights"], list):
        raise ConfigError(f"{path} must be a mapping with the keys {', '.join(sorted(keys))}, the last one a list")
    head = {key: content[key] for key in ("repository", "commit", "licence")}
    weights = []
    for number, entry in enumerate(content["weights"], 1):
        fault = _fault(entry)
        if fault:
            name = entry.get("name") if isinstance(entry, dict) else None
            raise ConfigError(f"{path}, {name or f'entry {number}'}: {fault}")
        weights.append(Weight(family=path.stem, **head, **entry))
    return weights


def _fault(entry: Any) -> str | None:
    """What is wrong with an entry, if anything."""
    if not isinstance(entry, dict):
        return f"an entry must be a mapping, got {type(entry).__name__}"
    missing = [key for key in (*_REQUIRED, "url") if key not in entry]
    if missing:
        return f"{', '.join(missing)} missing"
    kinds = {**_REQUIRED, **_OPTIONAL}
    for key, value in entry.items():
        if key != "url" and key not in kinds:
            return f"there is no key {key!r}; nearest: {', '.join(nearest(key, kinds, 3))}"
        if key != "url" and not isinstance(value, kinds[key]):
            return f"{key} must be {kinds[key].__name__}, got {value!r}"
    if entry["url"] is None and "page" not in entry:
        return "where url is null, page must say where the file is linked"
    for key in ("url", "page"):
        if entry.get(key) and not str(entry[key]).startswith(("https://", "http://", "file://")):
            return f"{key} must be an URL, got {entry[key]!r}"
    if entry["task"] not in TASKS:
        return f"task must be one of {', '.join(TASKS)}; got {entry['task']!r}"
    if "options" in entry and "config" not in entry:
        return "options change a config, and there is none"
    if entry["task"] == "classification" and ("flops" not in entry or "size" not in entry):
        return "a classification network must have flops and size"
    if len(entry.get("hub", "a/b/c").split("/")) < 3:
        return f"hub must be owner/repository/file, got {entry['hub']!r}"
    if not set(entry.get("sha256", "")) <= set("0123456789abcdef"):
        return f"sha256 must be hexadecimal digits, got {entry['sha256']!r}"
    for key in ("params", "flops"):
        counts = entry.get(key, {"counted": 0})
        if not isinstance(counts.get("counted"), int) or not set(counts) <= set(_COUNTS):
            return f"{key} must have a whole number under counted, and nothing but {', '.join(_COUNTS)}; got {counts}"
    return None
