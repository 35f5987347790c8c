"""Networks by name."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from mmengine.logging import MMLogger
from torch import nn

from foveal.backbones.catalog import CATALOG, Variant
from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.errors import ConfigError
from foveal.models.classifier import ImageClassifier
from foveal.registry import MODELS, accepted_arguments, lookup, nearest, unknown_arguments
from foveal.zoo.fetch import fetch_weight
from foveal.zoo.index import default_weight
from foveal.zoo.load import load_backbone, load_classifier

TIMM = "timm/"


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the names that `create_backbone` takes.

    Args:
        pattern: With the wildcards ``*`` and ``?``. One that begins with ``timm/`` lists timm's networks.

    Returns:
        Names, each family's from small to large.
    """
    if pattern.startswith(TIMM):
        import timm

        return [TIMM + name for name in timm.list_models(pattern.removeprefix(TIMM))]
    MODELS.import_from_location()
    return [name for name in CATALOG if fnmatchcase(name, pattern)]


def create_backbone(
    name: str, checkpoint: str | Path | Literal[True] | None = None, prefer_ema: bool = False, **kwargs: Any
) -> nn.Module:
    """Build a backbone: images [N, 3, H, W] to a tuple of feature maps, finest first.

    Args:
        name: One of `list_backbones`, or a timm network with ``timm/`` before its name.
        checkpoint: File or URL, in the official release's own format: of the classification network, whose head is
            then left out, or of a detector or segmentor with this backbone. True: the first of the zoo's files for
            this name that can be downloaded, with the arguments that it needs. None: initialised at random.
        prefer_ema: Take the averaged weights where the file has both.
        **kwargs: Arguments of the backbone's class, such as ``out_indices`` and ``drop_path_rate``.

    Returns:
        The backbone, in training mode.

    Raises:
        ConfigError: If the name or an argument is unknown, or a value is out of range.
        CheckpointError: If the file is unreadable or does not fit.
    """
    if checkpoint is True:
        checkpoint, needed = _from_zoo(name, ("classification", "backbone"))
        kwargs = {**{key: value for key, value in needed.items() if key != "num_classes"}, **kwargs}
    if name.startswith(TIMM):
        return _timm_backbone(name.removeprefix(TIMM), checkpoint, prefer_ema, kwargs)
    variant = find_variant(name)
    backbone = MODELS.build({**variant.backbone, **kwargs})
    if checkpoint is None:
        _initialise(backbone)
    else:
        load_backbone(backbone, checkpoint, variant, prefer_ema)
    return backbone


def create_classifier(
    name: str, checkpoint: str | Path | Literal[True] | None = None, prefer_ema: bool = False, **kwargs: Any
) -> nn.Module:
    """Build the official classification network: images [N, 3, H, W] to logits [N, num_classes].

    Args:
        name: One of `list_backbones`, or a timm network with ``timm/`` before its name.
        checkpoint: File or URL, in the official release's own format or in ours. True: the first of the zoo's files
            for this name that can be downloaded, with the arguments that it needs. None: initialised at random.
        prefer_ema: Take the averaged weights where the file has both.
        **kwargs: ``num_classes``, and arguments of the backbone's class or of the family's classification tail.

    Returns:
        The network, in training mode; its trunk is ``.backbone``.

    Raises:
        ConfigError: If the name or an argument is unknown, or the family has no classification network.
        CheckpointError: If the file is unreadable or does not fit.
    """
    if checkpoint is True:
        checkpoint, needed = _from_zoo(name, ("classification",))
        kwargs = {**needed, **kwargs}
    if name.startswith(TIMM):
        return _timm_classifier(name.removeprefix(TIMM), checkpoint, prefer_ema, kwargs)
    variant = find_variant(name)
    classifier = ImageClassifier(**classifier_nodes(variant, kwargs))
    if checkpoint is None:
        _initialise(classifier)
    else:
        load_classifier(classifier, checkpoint, variant, prefer_ema)
    return classifier


def _from_zoo(name: str, tasks: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
    """The zoo's file for a name, and the arguments that it needs."""
    if not name.startswith(TIMM):
        find_variant(name)
    weight = default_weight(name, tasks)
    return fetch_weight(weight), dict(weight.arguments)


def find_variant(name: str) -> Variant:
    """Return the catalogue's entry.

    Raises:
        ConfigError: If there is none; the message has the nearest names.
    """
    MODELS.import_from_location()
    if name not in CATALOG:
        near = nearest(name, CATALOG, 5)
        hint = f"nearest names: {', '.join(near)}" if near else "foveal.list_backbones() has them all"
        raise ConfigError(f"no backbone is called {name!r}; {hint}. timm's networks are called timm/NAME")
    return CATALOG[name]


def classifier_nodes(variant: Variant, arguments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the config nodes of a variant's classification network.

    Args:
        variant: The catalogue's entry.
        arguments: Each goes to whichever of backbone, head and tail takes it, or to several.

    Returns:
        ``backbone`` and ``head``, arguments of `ImageClassifier`.

    Raises:
        ConfigError: If none takes an argument, or the family has no classification network.
    """
    if variant.head is None:
        raise ConfigError(f"{variant.name} has no classification network; create_backbone builds it")
    backbone = {**variant.backbone, **variant.trunk}
    head = {"num_classes": 1000, **variant.head}
    nodes = [backbone, head]
    if "tail" in head:
        head["tail"] = {**head["tail"]}
        nodes.append(head["tail"])
    taken = set()
    for node in nodes:
        accepted = accepted_arguments(lookup(node["type"], MODELS)) or set()
        if node is not backbone:
            # the parts' own structure and what the model fills in are no user's to give
            accepted = accepted - {"tail", "in_channels", "init_cfg"}
        if len(nodes) == 3 and node is nodes[2]:
            accepted = accepted - {"num_classes"}
        mine = {key: value for key, value in arguments.items() if key in accepted}
        node.update(mine)
        taken |= set(mine)
    left = set(arguments) - taken
    if left:
        raise ConfigError(str(unknown_arguments(lookup(backbone["type"], MODELS), left)))
    return {"backbone": backbone, "head": head}


def _initialise(model: Any) -> None:
    """Apply every part's ``init_cfg`` without mmengine's line for each parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)


def _timm_backbone(name: str, checkpoint: str | Path | None, prefer_ema: bool, kwargs: dict[str, Any]) -> nn.Module:
    weights = None
    if checkpoint is not None:
        # features_only renames modules and loads leniently: the full network is what can be held to fit
        whole = _timm_network(name, {"in_channels": kwargs.get("in_channels", 3)})
        heads = whole.pretrained_cfg.get("classifier") or ()
        prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
        official = extract_state_dict(load_checkpoint(checkpoint), prefer_ema)
        own = {key: value for key, value in whole.state_dict().items() if key.startswith(prefixes)}
        trunk = {key: value for key, value in official.items() if not key.startswith(prefixes)}
        load_state_dict(whole, {**own, **trunk}, checkpoint)
        weights = whole.state_dict()
    return MODELS.build({"type": "TimmBackbone", "model_name": name, "weights": weights, **kwargs})


def _timm_classifier(name: str, checkpoint: str | Path | None, prefer_ema: bool, kwargs: dict[str, Any]) -> nn.Module:
    network = _timm_network(name, kwargs)
    if checkpoint is not None:
        load_state_dict(network, extract_state_dict(load_checkpoint(checkpoint), prefer_ema), checkpoint)
    return network


def _timm_network(name: str, kwargs: dict[str, Any]) -> Any:
    import timm

    if not timm.is_model(name):
        near = nearest(name.partition(".")[0], timm.list_models(), 5)
        raise ConfigError(f"timm has no model {name!r}; nearest names: {', '.join(near) or 'none'}")
    try:
        return timm.create_model(name, **{("in_chans" if k == "in_channels" else k): v for k, v in kwargs.items()})
    except TypeError as error:
        raise ConfigError(f"timm cannot build {name!r} with these arguments: {error}") from error
