"""Official checkpoints into our modules: unwrapped, converted, split between trunk and tail, and held to fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn

from foveal.backbones.catalog import CATALOG, StateDict, Variant
from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.errors import CheckpointError, FovealError
from foveal.models.build import build_head
from foveal.registry import MODELS

PREFIX = "backbone."


def load_backbone(backbone: nn.Module, checkpoint: str | Path, variant: Variant | None = None) -> None:
    """Load a backbone from a file of the classification network or of a whole detector or segmentor.

    What the backbone has no use for (the classification head, necks and heads, norms of outputs that are not asked for)
    is left out, and output norms that a classification file lacks keep their initial values; both are logged with a
    count. Any other difference is an error.

    Args:
        backbone: A built backbone.
        checkpoint: File or URL.
        variant: Its entry in the catalogue; None: the first of the same class, which knows the family's key names.

    Raises:
        CheckpointError: If the file is unreadable or does not fit.
    """
    variant = variant or _variant_of(backbone)
    official = extract_state_dict(load_checkpoint(checkpoint))
    of_model = {key.removeprefix(PREFIX): value for key, value in official.items() if key.startswith(PREFIX)}
    own = backbone.state_dict()
    if of_model:
        _log(checkpoint, "left out", [key for key in official if not key.startswith(PREFIX)])
    state = _convert(of_model or official, own, variant)
    if variant is not None:
        spare = _all_keys(variant) - own.keys()
        _log(checkpoint, "left out", [key for key in state if key in spare])
        state = {key: value for key, value in state.items() if key not in spare}
        added = own.keys() - _trunk_keys(variant)  # what the dense form has and the classification network has not
        if not added & state.keys():
            _log(checkpoint, "not in the file, left at their initial values:", sorted(added))
            state |= {key: own[key] for key in added}
    _load(backbone, state, checkpoint, variant, lambda key: key)


def load_classifier(classifier: nn.Module, checkpoint: str | Path, variant: Variant) -> None:
    """Load an `ImageClassifier` from the official classification file, or from one of ours.

    Args:
        classifier: Built from the variant's nodes.
        checkpoint: File or URL.
        variant: The catalogue's entry.

    Raises:
        CheckpointError: If the file is unreadable or does not fit in every key.
    """
    official = extract_state_dict(load_checkpoint(checkpoint))
    if any(key.startswith(PREFIX) for key in official):
        _load(classifier, official, checkpoint, variant, lambda key: key.removeprefix(PREFIX))
        return
    tail_name = "head.tail." if hasattr(classifier.head, "tail") else "head."
    places = {key.removeprefix(PREFIX).removeprefix(tail_name): key for key in classifier.state_dict()}
    wanted = {short: classifier.state_dict()[key] for short, key in places.items()}
    state = _convert(official, wanted, variant)
    state = {places.get(key, key): value for key, value in state.items()}
    _load(classifier, state, checkpoint, variant, lambda key: key.removeprefix(PREFIX).removeprefix(tail_name))


def _convert(official: StateDict, wanted: StateDict, variant: Variant | None) -> StateDict:
    """Official names to ours; counters of batch normalisation, which files of before torch 0.4.1 lack, are added."""
    state = variant.convert(official, wanted) if variant is not None and variant.convert else official
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    return {**counters, **state} if not counters.keys() & state.keys() else state


def _load(
    model: nn.Module, state: StateDict, source: str | Path, variant: Variant | None, short: Callable[[str], str]
) -> None:
    try:
        load_state_dict(model, state, source)
    except CheckpointError as error:
        match = _matching_variant({short(key): value for key, value in state.items()}, variant)
        hint = f"\nits shapes are those of {match}" if match else ""
        raise CheckpointError(f"{error}{hint}") from error


def _variant_of(backbone: nn.Module) -> Variant | None:
    kind = type(backbone).__name__
    return next((variant for variant in CATALOG.values() if variant.backbone["type"] == kind), None)


def _matching_variant(state: StateDict, wanted: Variant | None) -> str | None:
    """The other variant whose trunk has exactly the shapes of ``state``, the same family's first."""
    family = wanted.backbone["type"] if wanted else None
    others = [variant for variant in CATALOG.values() if variant is not wanted]
    for variant in sorted(others, key=lambda v: v.backbone["type"] != family):
        trunk = _skeleton(variant, with_tail=False)
        if trunk and all(key in state and state[key].shape == value.shape for key, value in trunk.items()):
            return variant.name
    return None


def _trunk_keys(variant: Variant) -> set[str]:
    return set(_skeleton(variant, with_tail=False))


def _all_keys(variant: Variant) -> set[str]:
    """Every official key of the classification network and of the full dense backbone."""
    dense = _on_meta(lambda: MODELS.build(dict(variant.backbone)))
    return set(_skeleton(variant, with_tail=True)) | (set(dense.state_dict()) if dense is not None else set())


def _skeleton(variant: Variant, with_tail: bool) -> StateDict:
    """Shapes of the official classification network, or of its trunk, under the official names."""
    trunk = _on_meta(lambda: MODELS.build({**variant.backbone, **variant.trunk}))
    if trunk is None:
        return {}
    state = dict(trunk.state_dict())
    if with_tail and variant.head is not None:
        head = _on_meta(lambda: build_head(dict(variant.head or {}), trunk))
        state |= dict(getattr(head, "tail", head).state_dict()) if head is not None else {}
    return state


def _on_meta(build: Callable[[], nn.Module]) -> nn.Module | None:
    """Build without memory; None where a family cannot."""
    try:
        with torch.device("meta"):
            return build()
    except (FovealError, RuntimeError, NotImplementedError):
        return None


def _log(source: str | Path, what: str, keys: list[str]) -> None:
    if keys:
        named = ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
        print_log(f"{source}: {len(keys)} tensors {what} {named}", logger="current")
