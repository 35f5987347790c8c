"""DiNAT: Dilated Neighborhood Attention Transformer (Hassani and Shi, 2022, arXiv:2209.15001).

NAT with every other attention dilated, as far as the maps of the task allow: the same weights serve all tasks.
Features: [N, 3, H, W] to [N, C, H/4, W/4], [N, 2C, H/8, W/8], [N, 4C, H/16, W/16], [N, 8C, H/32, W/32], rounded up.
Official code and weights: https://github.com/SHI-Labs/Neighborhood-Attention-Transformer, whose folders
classification, detection, segmentation and mask2former have the dilations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from foveal.backbones.catalog import register_family
from foveal.backbones.contract import resolve_arch
from foveal.backbones.nat import ARCHS as NAT_ARCHS
from foveal.backbones.nat import NAT
from foveal.errors import ConfigError
from foveal.registry import MODELS

Pattern = tuple[tuple[int, ...], ...]

_LARGE: dict[str, Any] = {**NAT_ARCHS["small"], "embed_dim": 192, "num_heads": (6, 12, 24, 48), "layer_scale": None}

ARCHS: dict[str, dict[str, Any]] = {
    "mini": NAT_ARCHS["mini"],
    "tiny": NAT_ARCHS["tiny"],
    "small": {**NAT_ARCHS["small"], "layer_scale": None},
    "base": NAT_ARCHS["base"],
    "large": _LARGE,
    "large_384": _LARGE,
    "large_11x11": {**_LARGE, "kernel_size": 11},
}

# levels of each task; a level's numbers are repeated up to its depth
DILATIONS: dict[str, Pattern] = {
    "classification": ((1, 8), (1, 4), (1, 2), (1,)),
    "detection": ((1, 28), (1, 7, 1, 14), (1, 3, 1, 5, 1, 7), (1, 3)),
    "instance": ((1, 28), (1, 7, 1, 14), (1, 3, 1, 5, 1, 7), (1, 3)),
    "segmentation": ((1, 16), (1, 4, 1, 8), (1, 2, 1, 3, 1, 4), (1, 2)),
}

_UPERNET_640: Pattern = ((1, 20), (1, 5, 1, 10), (1, 2, 1, 3, 1, 4, 1, 5, 1, 2, 1, 3, 1, 4, 1, 5, 1, 5), (1, 2))
_MASK2FORMER: Pattern = ((1, 14), (1, 4, 1, 7), (1, 2, 1, 3, 1, 2, 1, 3, 1, 2, 1, 3, 1, 2, 1, 3, 1, 3), (1,))

# where an arch differs
OWN_DILATIONS: dict[str, dict[str, Pattern]] = {
    "large": {"segmentation": _UPERNET_640},
    "large_384": {"classification": ((1, 13), (1, 6), (1, 3), (1,)), "segmentation": _UPERNET_640},
    "large_11x11": dict.fromkeys(("detection", "instance", "segmentation"), _MASK2FORMER),
}


@MODELS.register_module()
class DiNAT(NAT):
    """DiNAT as a backbone, with the official dense-prediction code's norms on its outputs.

    Args:
        arch: A name in ``ARCHS``, or a dict of its numbers.
        in_channels: Channels of the images.
        out_indices: Levels whose maps are returned, rising, 0 to 3.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        task: Whose official dilations to use: ``classification``; ``detection`` and ``instance``, of Mask R-CNN and
            Cascade Mask R-CNN; ``segmentation``, of UPerNet. The 11x11 arch has Mask2Former's for the last three.
        dilations: Of the attention in each block of each level, in place of the task's.
        output_norm: LayerNorm on every map that is returned. The classification trunk has none.
        frozen_stages: -1 none, 0 the tokenizer, n the tokenizer and the first n levels: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``task``, ``out_indices`` or ``frozen_stages`` names what is not there, or
            ``dilations`` has not one number a block.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "mini",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        task: str = "detection",
        dilations: Sequence[Sequence[int]] | None = None,
        output_norm: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        numbers = resolve_arch(arch, ARCHS, "DiNAT")
        patterns = {**DILATIONS, **OWN_DILATIONS.get(arch, {})} if isinstance(arch, str) else DILATIONS
        super().__init__(
            numbers,
            in_channels,
            out_indices,
            drop_path_rate,
            task_dilations(task, patterns, numbers["depths"], "DiNAT") if dilations is None else dilations,
            output_norm,
            frozen_stages,
            norm_eval,
            with_cp,
            init_cfg,
        )


def task_dilations(
    task: str, patterns: Mapping[str, Pattern], depths: Sequence[int], family: str
) -> list[tuple[int, ...]]:
    """Return the dilation of every block.

    Args:
        task: One of the keys of ``patterns``.
        patterns: Of each task and level; repeated up to the level's depth.
        depths: Blocks of each level.
        family: Its name, for messages.

    Raises:
        ConfigError: If the task is unknown.
    """
    if task not in patterns:
        raise ConfigError(f"{family}'s task must be one of {', '.join(patterns)}, got {task!r}")
    return [tuple(islice(cycle(numbers), depth)) for numbers, depth in zip(patterns[task], depths, strict=True)]


register_family(
    DiNAT,
    {
        **{f"dinat_{arch}": {"arch": arch} for arch in ARCHS},
        # the network is that of 224 pixels, the weights are others
        "dinat_large_384_11x11": {"arch": "large_11x11"},
    },
    trunk={"output_norm": False, "out_indices": (3,), "task": "classification"},
    head={"type": "ClsHead", "tail": {"type": "NATTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
)
