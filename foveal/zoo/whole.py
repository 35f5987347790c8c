"""Whole models: what a config describes, with its weights and what is known of its classes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.registry import DATASETS, MODELS, lookup


def model_of_config(cfg: Config, checkpoint: str | Path | None) -> Any:
    """Build a config's model, with ``cfg`` and ``dataset_meta``, the classes and palette of its data.

    The classes are those that the file has; else the config's; else those that its data set always has.

    Args:
        cfg: Loaded by `foveal.config.load_config`.
        checkpoint: Path or URL; None: random weights.

    Raises:
        CheckpointError: If the file is unreadable or does not fit.
    """
    model = MODELS.build(copy.deepcopy(cfg.model))
    model.cfg = cfg
    node = dataset_node(cfg)
    configured = dict(node.get("metainfo") or {})
    kind = node.get("type", "")
    dataset = lookup(kind, DATASETS) if isinstance(kind, str) else kind
    always = {} if "classes" in configured else getattr(dataset, "METAINFO", {})
    model.dataset_meta = {**always, **configured}
    if checkpoint is not None:
        content = load_checkpoint(checkpoint)
        load_state_dict(model, extract_state_dict(content), checkpoint)
        meta = content.get("meta") or {}
        # mmdet and mmseg wrote CLASSES before their third versions
        before = {"classes": meta["CLASSES"]} if meta.get("CLASSES") else {}
        model.dataset_meta = {**model.dataset_meta, **before, **(meta.get("dataset_meta") or {})}
    return model


def dataset_node(cfg: Config) -> dict[str, Any]:
    """Return the config of the test (else validation) data set, through wrappers such as RepeatDataset."""
    for phase in ("test_dataloader", "val_dataloader"):
        node = (cfg.get(phase) or {}).get("dataset")
        while node is not None and "dataset" in node:
            node = node["dataset"]
        if node is not None:
            return node
    return {}
