"""The table from the names that users type (``convnext_tiny``) to what is built for them.

A family's file ends with one call of `register_family`; ``foveal.zoo`` reads the table. The official classification
network is described as a trunk, which is the backbone itself, and a tail behind it with the official key names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from foveal.errors import ConfigError

StateDict = dict[str, Tensor]
Convert = Callable[[StateDict, StateDict], StateDict]


@dataclass(frozen=True)
class Variant:
    """One name a user types.

    Args:
        name: ``convnext_tiny``.
        backbone: Config node of the dense backbone: ``type`` and the variant's arguments.
        trunk: Arguments that turn it into the trunk of the official classification network.
        head: Config node of that network's head; None where there is none.
        tail_keys: Pattern of the keys that only the classification network has.
        output_keys: Pattern of the keys that only the dense backbone has.
        convert: ``convert(official, wanted) -> ours``; None where the official keys are ours.
    """

    name: str
    backbone: Mapping[str, Any]
    trunk: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] | None = None
    tail_keys: str = ""
    output_keys: str = ""
    convert: Convert | None = None


CATALOG: dict[str, Variant] = {}


def register_family(
    backbone: type,
    variants: Mapping[str, Mapping[str, Any]],
    *,
    trunk: Mapping[str, Any] | None = None,
    head: Mapping[str, Any] | None = None,
    tail_keys: str = "",
    output_keys: str = "",
    convert: Convert | None = None,
) -> None:
    """Enter the variants of a family.

    Args:
        backbone: The registered class.
        variants: From the name a user types to the class's arguments. Smallest first: lists keep this order.
        trunk: Arguments of the class in the official classification network, such as ``output_norm=False``.
        head: Config node of that network's head: a `ClsHead` around the official tail, or `LinearClsHead`.
            ``num_classes`` (1000) and ``in_channels`` are filled in.
        tail_keys: Regular expression that the official keys of the tail begin with, and no key of the backbone: a
            backbone leaves them out of a classification file.
        output_keys: The same for the norms of the outputs, which only the dense form has: they are new to a
            classification file, and left out of a detector's where an output is not asked for.
        convert: Called with the official state dict and with the tensors that our module wants under official names;
            returns a state dict under those names. It may rename, reshape, resize, and drop what is recomputed.

    Raises:
        ConfigError: If a name is there already.
    """
    for name, arguments in variants.items():
        if name in CATALOG:
            raise ConfigError(f"the backbone {name} is registered twice")
        node = {"type": backbone.__name__, **arguments}
        CATALOG[name] = Variant(name, node, trunk or {}, head, tail_keys, output_keys, convert)
