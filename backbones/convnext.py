"""ConvNeXt: A ConvNet for the 2020s (Liu et al., CVPR 2022, arXiv:2201.03545).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded down.
Official code and weights: https://github.com/facebookresearch/ConvNeXt. The sizes atto to nano are those of
https://github.com/huggingface/pytorch-image-models, which also has the only weights for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import StateDict, register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.layers import DropPath, LayerNorm2d, pointwise
from foveal.registry import MODELS

ARCHS: dict[str, dict[str, Any]] = {
    "atto": {"depths": (2, 2, 6, 2), "dims": (40, 80, 160, 320)},
    "femto": {"depths": (2, 2, 6, 2), "dims": (48, 96, 192, 384)},
    "pico": {"depths": (2, 2, 6, 2), "dims": (64, 128, 256, 512)},
    "nano": {"depths": (2, 2, 8, 2), "dims": (80, 160, 320, 640)},
    "tiny": {"depths": (3, 3, 9, 3), "dims": (96, 192, 384, 768)},
    "small": {"depths": (3, 3, 27, 3), "dims": (96, 192, 384, 768)},
    "base": {"depths": (3, 3, 27, 3), "dims": (128, 256, 512, 1024)},
    "large": {"depths": (3, 3, 27, 3), "dims": (192, 384, 768, 1536)},
    "xlarge": {"depths": (3, 3, 27, 3), "dims": (256, 512, 1024, 2048)},
}


class Block(nn.Module):
    """Depthwise 7x7 convolution, LayerNorm, and a pointwise MLP of four times the width, on a residual path.

    Args:
        dim: C.
        drop_path: Probability of dropping the branch.
        layer_scale_init_value: Initial value of the branch's scale ``gamma``; 0: no scale.
    """

    def __init__(self, dim: int, drop_path: float, layer_scale_init_value: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        scaled = layer_scale_init_value > 0
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale_init_value)) if scaled else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = pointwise(F.gelu(pointwise(y, self.pwconv1)), self.pwconv2)
        if self.gamma is not None:
            y = self.gamma[:, None, None] * y
        return x + self.drop_path(y)


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt as a backbone, with the official dense-prediction code's norms on its outputs.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depths=…, dims=…)`` with four numbers each.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 3.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        layer_scale_init_value: Of the blocks' scales; the official detectors and segmentors start from 1.0.
        output_norm: LayerNorm on every map that is returned. The classification trunk has none.
        pad_downsampling: Put zeros around what each strided convolution reads, as kMaX-DeepLab does: images of 32 k + 1
            pixels a side get maps of 8 k + 1, 4 k + 1, 2 k + 1 and k + 1 pixels, whose corners lie on one another.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = "tiny",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        output_norm: bool = True,
        pad_downsampling: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": ["Conv2d", "Linear"], "std": 0.02, "bias": 0.0})
        depths, dims = (resolve_arch(arch, ARCHS, "ConvNeXt")[key] for key in ("depths", "dims"))
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "ConvNeXt")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        stem = nn.Sequential(nn.Conv2d(in_channels, dims[0], 4, stride=4), LayerNorm2d(dims[0]))
        between = [nn.Sequential(LayerNorm2d(a), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairwise(dims)]
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, rate, layer_scale_init_value) for rate in rates))
            for dim, rates in zip(dims, drop_path_rates(drop_path_rate, depths), strict=True)
        )
        for i in self.out_indices if output_norm else ():
            self.add_module(f"norm{i}", LayerNorm2d(dims[i]))
        self.output_norm = output_norm
        self.pad_downsampling = pad_downsampling
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``; odd sizes lose their last row or column."""
        check_input(x, self.in_channels, "ConvNeXt")
        maps = []
        for i in range(self.out_indices[-1] + 1):
            if self.pad_downsampling:
                before, after = (0, 1) if i else (1, 2)
                x = F.pad(x, (before, after, before, after))
            x = self.downsample_layers[i](x)
            for block in self.stages[i].children():
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x) if self.output_norm else x)
        return tuple(maps)

    def train(self, mode: bool = True) -> ConvNeXt:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        layers = self.downsample_layers
        parts = [[layers[0]], *([layers[i], self.stages[i]] if i else [self.stages[0]] for i in range(len(layers)))]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


@MODELS.register_module()
class ConvNeXtTail(nn.Module):
    """What follows the trunk in the official classification network: mean over the pixels, LayerNorm, linear layer.

    Args:
        in_channels: C of the last map.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map the last of the feature maps, [N, C, H, W], to logits [N, K]."""
        return self.head(self.norm(feats[-1].mean((-2, -1))))


# timm's names, for files whose first key is its stem's
_FROM_TIMM = (
    (r"^stem\.", "downsample_layers.0."),
    (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
    (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
    (r"\.conv_dw\.", ".dwconv."),
    (r"\.mlp\.fc", ".pwconv"),
    (r"^head\.norm\.", "norm."),
    (r"^head\.fc\.", "head."),
)


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Turn timm's key names, and its 1x1 convolutions in place of linear layers, into the official ones."""
    if "stem.0.weight" not in official:
        return official
    converted = {}
    for key, value in official.items():
        for pattern, new in _FROM_TIMM:
            key = re.sub(pattern, new, key)
        converted[key] = value.flatten(1) if "pwconv" in key and value.ndim == 4 else value
    return converted


register_family(
    ConvNeXt,
    {f"convnext_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"output_norm": False, "out_indices": (3,)},
    head={"type": "ClsHead", "tail": {"type": "ConvNeXtTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
    convert=convert_state_dict,
)
