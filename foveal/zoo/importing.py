"""Official checkpoints as files of ours: safetensors, with where they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

import foveal
from foveal.config import load_config
from foveal.engine.checkpoint import replacing
from foveal.engine.download import cached, hash_of
from foveal.errors import CheckpointError, ConfigError
from foveal.zoo.create import create_backbone, create_classifier
from foveal.zoo.index import list_weights, whole_model
from foveal.zoo.restorers import RESTORERS, create_restorer
from foveal.zoo.whole import model_of_config


def import_checkpoint(name: str, source: str | Path, target: Path, kind: str | None = None, **arguments: Any) -> None:
    """Write an official checkpoint as a safetensors file of ours, with where it came from in its metadata.

    Args:
        name: Of `foveal.list_backbones` or `foveal.list_restorers`, or of a whole model in the zoo.
        source: The official file or its URL.
        target: File that is written, ``.safetensors``.
        kind: ``classifier`` or ``backbone``; None: a classifier if the file fits one, else a backbone.
        **arguments: Of the network that the file needs, such as ``num_classes``.

    Raises:
        ConfigError: If the name or kind is unknown, or the target's suffix is another.
        CheckpointError: If the file cannot be read or does not fit.
    """
    if target.suffix != ".safetensors":
        raise ConfigError(f"the imported file must be called .safetensors, got {target}")
    model, kind = _build(name, source, kind, arguments)
    path = cached(str(source)) if str(source).startswith("http") else Path(source)
    metadata = {
        "format": "pt",
        "foveal_version": foveal.__version__,
        "foveal_name": name,
        "foveal_kind": kind,
        "foveal_arguments": repr(arguments),
        "source": str(source) if str(source).startswith("http") else path.name,
        "source_sha256": hash_of(path),
        **_published(name, path),
    }
    if getattr(model, "dataset_meta", None):
        metadata["dataset_meta"] = json.dumps(model.dataset_meta)
    tensors = {key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    try:
        with replacing(target) as temporary:
            save_file(tensors, temporary, metadata)
    except OSError as error:
        raise CheckpointError(f"cannot write {target}: {error.strerror or error}") from error


def _build(name: str, source: str | Path, kind: str | None, arguments: dict[str, Any]) -> tuple[nn.Module, str]:
    """The network with the file's weights, and its kind."""
    whole = whole_model(name)
    if whole is not None:
        if arguments:
            raise ConfigError(f"{name} is a whole model, which takes no arguments here; got {', '.join(arguments)}")
        return model_of_config(load_config(str(whole.config), whole.options), source), "model"
    if name in RESTORERS:
        return create_restorer(name, source, **arguments), "restorer"
    makers = {"classifier": create_classifier, "backbone": create_backbone}
    if kind is not None and kind not in makers:
        raise ConfigError(f"kind must be classifier or backbone, got {kind!r}")
    if kind is not None:
        return makers[kind](name, source, **arguments), kind
    try:
        return create_classifier(name, source, **arguments), "classifier"
    except CheckpointError as error:
        try:
            return create_backbone(name, source, **arguments), "backbone"
        except CheckpointError:
            raise error from None


def _published(name: str, path: Path) -> dict[str, str]:
    """What the index says of a file of this name."""
    for weight in list_weights(name):
        if weight.url is not None and weight.url.split("?")[0].endswith("/" + path.name):
            return {"zoo_name": weight.name, "repository": weight.repository, "licence": weight.licence}
    return {}
