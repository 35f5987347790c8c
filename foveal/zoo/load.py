"""Official checkpoints into our modules: unwrapped, converted, split between trunk and tail, and held to fit."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn

from foveal.backbones.catalog import CATALOG, StateDict, Variant
from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.errors import CheckpointError, FovealError
from foveal.registry import MODELS

PREFIX = "backbone."


def load_backbone(
    backbone: nn.Module, checkpoint: str | Path, variant: Variant | None = None, prefer_ema: bool = False
) -> None:
    """Load a backbone from a file of the classification network or of a whole detector or segmentor.

    What the backbone has no use for (the classification tail, necks and heads, norms of outputs that are not asked for)
    is left out, and output norms that a classification file lacks keep their initial values; both are logged with a
    count. Any other difference is an error.

    Args:
        backbone: A built backbone.
        checkpoint: File or URL.
        variant: Its entry in the catalogue; None: the first of the same class, which knows the family's key names.
        prefer_ema: Take the averaged weights where the file has both.

    Raises:
        CheckpointError: If the file is unreadable or does not fit.
    """
    variant = variant or _variant_of(backbone)
    official = extract_state_dict(load_checkpoint(checkpoint), prefer_ema)
    inner = {key.removeprefix(PREFIX): value for key, value in official.items() if key.startswith(PREFIX)}
    own = backbone.state_dict()
    state = _convert(inner or official, own, variant)

    spare = [key for key in state if key not in own and _only_elsewhere(key, variant)]
    left_out = spare + ([key for key in official if not key.startswith(PREFIX)] if inner else [])
    state = {key: value for key, value in state.items() if key not in spare}
    outputs = variant.output_keys if variant is not None else ""
    added = [key for key in own if _begins(outputs, key)]
    if added and not any(_begins(outputs, key) for key in (*state, *spare)):
        state |= {key: own[key] for key in added}
    else:
        added = []
    _load(backbone, state, checkpoint, variant)
    _log(checkpoint, "left out:", left_out)
    _log(checkpoint, "not in the file, left at their initial values:", added)


def load_classifier(classifier: nn.Module, checkpoint: str | Path, variant: Variant, prefer_ema: bool = False) -> None:
    """Load an `ImageClassifier` from the official classification file, or from one of ours.

    Args:
        classifier: Built from the variant's nodes.
        checkpoint: File or URL.
        variant: The catalogue's entry.
        prefer_ema: Take the averaged weights where the file has both.

    Raises:
        CheckpointError: If the file is unreadable or does not fit in every key.
    """
    official = extract_state_dict(load_checkpoint(checkpoint), prefer_ema)
    own = classifier.state_dict()
    tail = "head.tail." if hasattr(classifier.head, "tail") else "head."
    places = {key.removeprefix(PREFIX).removeprefix(tail): key for key in own}
    named = {key.removeprefix(PREFIX): value for key, value in official.items()}  # ours and mmpretrain's have it
    state = _convert(named, {name: own[place] for name, place in places.items()}, variant)
    _load(classifier, {places.get(key, key): value for key, value in state.items()}, checkpoint, variant)


def _convert(official: StateDict, wanted: StateDict, variant: Variant | None) -> StateDict:
    """Official names to ours; the counters that batch normalisation had not before torch 0.4.1 are added."""
    state = variant.convert(official, wanted) if variant is not None and variant.convert else official
    counter = "num_batches_tracked"
    missing = {key: value for key, value in wanted.items() if key.endswith(counter) and key not in state}
    return {**state, **{k: v for k, v in missing.items() if k.replace(counter, "running_mean") in state}}


def _only_elsewhere(key: str, variant: Variant | None) -> bool:
    """Whether the family's classification tail or its other outputs have this key."""
    return variant is not None and (_begins(variant.tail_keys, key) or _begins(variant.output_keys, key))


def _begins(pattern: str, key: str) -> bool:
    return bool(pattern) and re.match(pattern, key) is not None


def _load(model: nn.Module, state: StateDict, source: str | Path, variant: Variant | None) -> None:
    try:
        load_state_dict(model, state, source)
    except CheckpointError as error:
        match = _matching_variant({key.removeprefix(PREFIX): value for key, value in state.items()}, variant)
        hint = f"\nits shapes are those of {match}" if match else ""
        raise CheckpointError(f"{error}{hint}") from error


def _variant_of(backbone: nn.Module) -> Variant | None:
    kind = type(backbone).__name__
    return next((variant for variant in CATALOG.values() if variant.backbone["type"] == kind), None)


def _matching_variant(state: StateDict, wanted: Variant | None) -> str | None:
    """The other variant whose trunk has exactly the shapes of ``state``, the same family's first."""
    families: dict[str, list[Variant]] = {}
    for variant in CATALOG.values():
        families.setdefault(variant.backbone["type"], []).append(variant)
    own = wanted.backbone["type"] if wanted else None
    for family in sorted(families, key=lambda name: name != own):
        # to build them all takes half a minute: the smallest tells whether the names are the family's at all
        smallest = _trunk(families[family][0])
        if sum(key in state for key in smallest) < len(smallest) / 2:
            continue
        for variant in families[family]:
            trunk = _trunk(variant)
            fits = all(key in state and state[key].shape == value.shape for key, value in trunk.items())
            if variant is not wanted and trunk and fits:
                return variant.name
    return None


def _trunk(variant: Variant) -> StateDict:
    """The trunk's names and shapes; none of a network that cannot be built without memory."""
    try:
        with torch.device("meta"):
            return MODELS.build({**variant.backbone, **variant.trunk}).state_dict()
    except (FovealError, RuntimeError):
        return {}


def _log(source: str | Path, what: str, keys: list[str]) -> None:
    if keys:
        named = ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
        print_log(f"{source}: {len(keys)} tensors {what} {named}", logger="current")
