"""From config nodes to connected parts: ``in_channels`` that a config leaves out are filled from the part before."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from foveal.registry import MODELS, lookup

Node = dict[str, Any] | nn.Module


def build_data_preprocessor(config: Node | None) -> nn.Module:
    """Build the data preprocessor; mmengine's ``BaseModel`` would look its type up among its own only.

    Args:
        config: Config node or built module. None: a `DataPreprocessor` that stacks and pads.
    """
    return config if isinstance(config, nn.Module) else MODELS.build(config or {"type": "DataPreprocessor"})


def build_backbone_and_neck(backbone: Node, neck: Node | None) -> tuple[nn.Module, nn.Module | None]:
    """Build a backbone and, where there is one, the neck that reads all its feature maps.

    Args:
        backbone: Config node or built module; it has ``out_channels``, a tuple with one entry a feature map.
        neck: Config node, built module or None. A missing ``in_channels`` becomes the list of the backbone's
            ``out_channels``.

    Returns:
        The two modules; the second is None where ``neck`` is.
    """
    body: Any = backbone if isinstance(backbone, nn.Module) else MODELS.build(backbone)
    if neck is None or isinstance(neck, nn.Module):
        return body, neck
    default = {} if neck.get("in_channels") is not None else {"in_channels": list(body.out_channels)}
    return body, MODELS.build({**neck, **default})


def build_head(head: Node, feeder: nn.Module, **defaults: Any) -> nn.Module:
    """Build a head on the feature maps of ``feeder``.

    Args:
        head: Config node or built module. A missing ``in_channels`` is filled by the head's ``in_index`` (its default
            where the config has none): a number picks that map's channels, a sequence gives a list, None a list of
            all. Heads without ``in_index`` get the channels of the last map, or a list of all where the default of
            their ``in_channels`` is a sequence.
        feeder: Backbone or neck with ``out_channels``.
        defaults: Arguments used where ``head`` does not give them.

    Returns:
        The head.
    """
    if isinstance(head, nn.Module):
        return head
    head = {**defaults, **head}
    if head.get("in_channels") is None:
        source: Any = feeder
        channels = list(source.out_channels)
        several = isinstance(_default_of(head["type"], "in_channels", 0), Sequence)
        index = head.get("in_index", _default_of(head["type"], "in_index", None if several else -1))
        if index is None:
            index = range(len(channels))
        head["in_channels"] = channels[index] if isinstance(index, int) else [channels[i] for i in index]
    return MODELS.build(head)


def _default_of(kind: Any, argument: str, otherwise: Any) -> Any:
    """The default of a constructor's argument, or ``otherwise`` where it has none."""
    target = lookup(kind, MODELS) if isinstance(kind, str) else kind
    parameter = inspect.signature(target).parameters.get(argument) if target is not None else None
    return otherwise if parameter is None or parameter.default is parameter.empty else parameter.default
