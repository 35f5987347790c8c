"""NAT: Neighborhood Attention Transformer (Hassani et al., CVPR 2023, arXiv:2204.07143).

Features: [N, 3, H, W] to [N, C, H/4, W/4], [N, 2C, H/8, W/8], [N, 4C, H/16, W/16], [N, 8C, H/32, W/32], rounded up.
Official code and weights: https://github.com/SHI-Labs/Neighborhood-Attention-Transformer. Maps that are smaller than
the attention's window are padded inside the attention, see `NeighborhoodAttention2D`.
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
from foveal.errors import ConfigError
from foveal.layers import NeighborhoodLevel
from foveal.registry import MODELS

_SMALLER: dict[str, Any] = {"num_heads": (2, 4, 8, 16), "mlp_ratio": 3.0, "kernel_size": 7, "layer_scale": None}
_LARGER: dict[str, Any] = {"depths": (3, 4, 18, 5), "mlp_ratio": 2.0, "kernel_size": 7}

ARCHS: dict[str, dict[str, Any]] = {
    "mini": {"embed_dim": 64, "depths": (3, 4, 6, 5), **_SMALLER},
    "tiny": {"embed_dim": 64, "depths": (3, 4, 18, 5), **_SMALLER},
    "small": {"embed_dim": 96, "num_heads": (3, 6, 12, 24), "layer_scale": 1e-5, **_LARGER},
    "base": {"embed_dim": 128, "num_heads": (4, 8, 16, 32), "layer_scale": 1e-5, **_LARGER},
}


class ConvTokenizer(nn.Module):
    """Two 3x3 convolutions with stride 2 and nothing between them, then LayerNorm.

    Args:
        in_channels: Channels of the images.
        dim: C.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(in_channels, dim // 2, 3, stride=2, padding=1), nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, H/4, W/4, C]."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class ConvDownsampler(nn.Module):
    """A 3x3 convolution with stride 2 to twice the channels, then LayerNorm.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(dim, 2 * dim, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to [N, H/2, W/2, 2C]."""
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


@MODELS.register_module()
class NAT(BaseModule):
    """NAT as a backbone, with the official dense-prediction code's norms on its outputs.

    Args:
        arch: A name in ``ARCHS``, or a dict of its numbers.
        in_channels: Channels of the images.
        out_indices: Levels whose maps are returned, rising, 0 to 3.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        dilations: Of the attention in each block of each level; None: 1.
        output_norm: LayerNorm on every map that is returned. The classification trunk has none.
        frozen_stages: -1 none, 0 the tokenizer, n the tokenizer and the first n levels: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there, or ``dilations`` has not
            one number a block.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "mini",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        dilations: Sequence[Sequence[int]] | None = None,
        output_norm: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02, "bias": 0.0})
        self.family = type(self).__name__
        numbers = resolve_arch(arch, ARCHS, self.family)
        depths, kernel_size = numbers["depths"], numbers["kernel_size"]
        dims = [numbers["embed_dim"] * 2**i for i in range(len(depths))]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(depths), self.family)
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        dilations = check_dilations(dilations, depths, self.family)
        rates = drop_path_rates(drop_path_rate, depths)
        self.patch_embed = ConvTokenizer(in_channels, dims[0])
        self.levels = nn.ModuleList(
            NeighborhoodLevel(
                dim,
                numbers["num_heads"][i],
                kernel_size,
                dilations[i],
                numbers["mlp_ratio"],
                rates[i],
                numbers["layer_scale"],
                ConvDownsampler(dim) if i < len(dims) - 1 else None,
            )
            for i, dim in enumerate(dims)
        )
        for i in self.out_indices if output_norm else ():
            self.add_module(f"norm{i}", nn.LayerNorm(dims[i]))
        self.output_norm = output_norm
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``; odd sizes are rounded up."""
        check_input(x, self.in_channels, self.family)
        return run_levels(self, self.patch_embed(x), self.levels)

    def train(self, mode: bool = True) -> NAT:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts: list[list[nn.Module]] = [[self.patch_embed], *([level] for level in self.levels)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


def check_dilations(
    dilations: Sequence[Sequence[int]] | None, depths: Sequence[int], family: str
) -> Sequence[Sequence[int]]:
    """Return the dilation of every block.

    Args:
        dilations: Of each block of each level; None: 1.
        depths: Blocks of each level.
        family: Its name, for messages.

    Raises:
        ConfigError: If there is not one positive number a block.
    """
    if dilations is None:
        return [[1] * depth for depth in depths]
    if [len(level) for level in dilations] != list(depths) or min(map(min, dilations)) < 1:
        raise ConfigError(
            f"{family} needs one dilation, at least 1, for each of the {list(depths)} blocks of its levels, "
            f"got dilations={dilations}"
        )
    return dilations


def run_levels(backbone: Any, x: Tensor, levels: Any) -> tuple[Tensor, ...]:
    """Run the levels that are needed.

    Args:
        backbone: Has ``out_indices``, ``with_cp``, ``output_norm`` and the norms.
        x: Map [N, H/4, W/4, C].
        levels: ModuleList of the `NeighborhoodLevel` of each resolution.

    Returns:
        The maps at ``out_indices``, [N, C, H, W] with channels last in memory.
    """
    maps = []
    for i in range(backbone.out_indices[-1] + 1):
        if i:
            x = levels[i - 1].downsample(x)
        for block in levels[i].blocks:
            x = run(block, x, backbone.with_cp)
        if i in backbone.out_indices:
            y = getattr(backbone, f"norm{i}")(x) if backbone.output_norm else x
            maps.append(y.permute(0, 3, 1, 2))
    return tuple(maps)


@MODELS.register_module()
class NATTail(nn.Module):
    """What follows the trunk in the official classification network: LayerNorm, mean over the pixels, linear layer.

    Args:
        in_channels: C of the last map.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map the last of the feature maps, [N, C, H, W], to logits [N, K]."""
        return self.head(self.norm(feats[-1].permute(0, 2, 3, 1)).mean((1, 2)))


register_family(
    NAT,
    {f"nat_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"output_norm": False, "out_indices": (3,)},
    head={"type": "ClsHead", "tail": {"type": "NATTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
)
