"""DiNAT_s: dilated neighbourhood attention in the layout of Swin (Hassani and Shi, 2022, arXiv:2209.15001).

Features: [N, 3, H, W] to [N, C, H/4, W/4], [N, 2C, H/8, W/8], [N, 4C, H/16, W/16], [N, 8C, H/32, W/32], rounded up.
Official code and weights: https://github.com/SHI-Labs/Neighborhood-Attention-Transformer. The dilations go by the task,
see `DiNAT`; the maps are padded at the bottom and the right where their sizes are odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
)
from foveal.backbones.dinat import Pattern, task_dilations
from foveal.backbones.nat import check_dilations, run_levels
from foveal.layers import NeighborhoodLevel
from foveal.registry import MODELS

_SHARED: dict[str, Any] = {"mlp_ratio": 4.0, "kernel_size": 7}
_LARGE: dict[str, Any] = {"embed_dim": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48), **_SHARED}

ARCHS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), **_SHARED},
    "small": {"embed_dim": 96, "depths": (2, 2, 18, 2), "num_heads": (3, 6, 12, 24), **_SHARED},
    "base": {"embed_dim": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32), **_SHARED},
    "large": _LARGE,
    "large_384": _LARGE,
}

# levels of each task; a level's numbers are repeated up to its depth
DILATIONS: dict[str, Pattern] = {
    "classification": ((1, 8), (1, 4), (1, 2), (1,)),
    "detection": ((1, 28), (1, 14), (1, 3, 1, 5, 1, 7), (1, 3)),
    "instance": ((1, 28), (1, 14), (1, 3, 1, 5, 1, 7), (1, 3)),
    "segmentation": ((1, 16), (1, 8), (1, 2, 1, 3, 1, 4), (1, 2)),
}

_UPERNET_640: Pattern = ((1, 20), (1, 10), (1, 2, 1, 3, 1, 4, 1, 5, 1, 2, 1, 3, 1, 4, 1, 5, 1, 5), (1, 2))

# where an arch differs
OWN_DILATIONS: dict[str, dict[str, Pattern]] = {
    "large": {"segmentation": _UPERNET_640},
    "large_384": {"classification": ((1, 13), (1, 6), (1, 3), (1,)), "segmentation": _UPERNET_640},
}


class PatchEmbed(nn.Module):
    """A 4x4 convolution with stride 4, then LayerNorm.

    Args:
        in_channels: Channels of the images.
        dim: C.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, H/4, W/4, C], rounded up."""
        height, width = x.shape[-2:]
        if height % 4 or width % 4:
            x = F.pad(x, (0, -width % 4, 0, -height % 4))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Each 2x2 patch as one pixel of four times the channels: LayerNorm, and a linear layer to twice the channels.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to [N, H/2, W/2, 2C], rounded up; the official order goes down the patch's columns."""
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(x))


@MODELS.register_module()
class DiNAT_s(BaseModule):
    """DiNAT_s as a backbone, with the official dense-prediction code's norms on its outputs.

    Args:
        arch: A name in ``ARCHS``, or a dict of its numbers.
        in_channels: Channels of the images.
        out_indices: Levels whose maps are returned, rising, 0 to 3.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        task: Whose official dilations to use: ``classification``; ``detection`` and ``instance``, of Mask R-CNN and
            Cascade Mask R-CNN; ``segmentation``, of UPerNet.
        dilations: Of the attention in each block of each level, in place of the task's.
        output_norm: LayerNorm on every map that is returned. The classification trunk has none.
        frozen_stages: -1 none, 0 the patch embedding, n that and the first n levels: no gradient, eval mode.
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
        arch: str | Mapping[str, Any] = "tiny",
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
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02, "bias": 0.0})
        numbers = resolve_arch(arch, ARCHS, "DiNAT_s")
        depths = numbers["depths"]
        dims = [numbers["embed_dim"] * 2**i for i in range(len(depths))]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(depths), "DiNAT_s")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        patterns = {**DILATIONS, **OWN_DILATIONS.get(arch, {})} if isinstance(arch, str) else DILATIONS
        dilations = check_dilations(dilations or task_dilations(task, patterns, depths, "DiNAT_s"), depths, "DiNAT_s")
        rates = drop_path_rates(drop_path_rate, depths)
        self.patch_embed = PatchEmbed(in_channels, dims[0])
        self.layers = nn.ModuleList(
            NeighborhoodLevel(
                dim,
                numbers["num_heads"][i],
                numbers["kernel_size"],
                dilations[i],
                numbers["mlp_ratio"],
                rates[i],
                downsample=PatchMerging(dim) if i < len(dims) - 1 else None,
            )
            for i, dim in enumerate(dims)
        )
        for i in self.out_indices if output_norm else ():
            self.add_module(f"norm{i}", nn.LayerNorm(dims[i]))
        self.output_norm = output_norm
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``; odd sizes are rounded up."""
        check_input(x, self.in_channels, "DiNAT_s")
        return run_levels(self, self.patch_embed(x), self.layers)

    def train(self, mode: bool = True) -> DiNAT_s:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts: list[list[nn.Module]] = [[self.patch_embed], *([level] for level in self.layers)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


register_family(
    DiNAT_s,
    {f"dinat_s_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"output_norm": False, "out_indices": (3,), "task": "classification"},
    head={"type": "ClsHead", "tail": {"type": "NATTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
)
