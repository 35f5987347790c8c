"""Isotropic ConvNeXt: ConvNeXt's blocks at one resolution, as a ViT has them (Liu et al., CVPR 2022, arXiv:2201.03545).

One feature map: [N, 3, H, W] -> [N, C, H/16, W/16]. The blocks have no layer scale.
Official code: models/convnext_isotropic.py of github.com/facebookresearch/ConvNeXt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.backbones.convnext import Block
from foveal.registry import MODELS

ARCHS: dict[str, dict[str, Any]] = {
    "small": {"depth": 18, "dim": 384},
    "base": {"depth": 18, "dim": 768},
    "large": {"depth": 36, "dim": 1024},
}


@MODELS.register_module()
class ConvNeXtIsotropic(BaseModule):
    """ConvNeXt without stages, as a backbone.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depth=…, dim=…)``.
        in_channels: Channels of the images.
        out_indices: There is one map, number 0.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        layer_scale_init_value: Of the blocks' scales; 0, as released: no scales.
        frozen_stages: -1 none, 0 the stem, 1 everything: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of the map.
        out_strides: Pixels of the image to one of the map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, int] = "small",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0,),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": ["Conv2d", "Linear"], "std": 0.02, "bias": 0.0})
        depth, dim = (resolve_arch(arch, ARCHS, "ConvNeXtIsotropic")[key] for key in ("depth", "dim"))
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, 1, "ConvNeXtIsotropic")
        self.out_channels = (dim,)
        self.out_strides = (16,)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.stem = nn.Conv2d(in_channels, dim, 16, stride=16)
        (rates,) = drop_path_rates(drop_path_rate, [depth])
        self.blocks = nn.Sequential(*(Block(dim, rate, layer_scale_init_value) for rate in rates))
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map [N, in_channels, H, W] to one map [N, C, H // 16, W // 16]."""
        check_input(x, self.in_channels, "ConvNeXtIsotropic")
        x = self.stem(x)
        for block in self.blocks.children():
            x = run(block, x, self.with_cp)
        return (x,)

    def stage_of(self, name: str) -> tuple[int, int | None]:
        """Return the stage (there is one) and block of a parameter, for layer-wise decay; the stem has no block."""
        return 0, int(name.split(".")[1]) if name.startswith("blocks.") else None

    def train(self, mode: bool = True) -> ConvNeXtIsotropic:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        apply_train_mode(self, [[self.stem], [self.blocks]], self.frozen_stages, self.norm_eval, mode)
        return self


register_family(
    ConvNeXtIsotropic,
    {f"convnext_isotropic_{arch}": {"arch": arch} for arch in ARCHS},
    head={"type": "ClsHead", "tail": {"type": "ConvNeXtTail"}},
    tail_keys=r"(norm|head)\.",
)
