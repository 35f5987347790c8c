"""HorNet: efficient high-order spatial interactions with recursive gated convolutions (NeurIPS 2022, arXiv:2207.14284).

Features: [N, 3, H, W] to [N, C, H/4, W/4], [N, 2C, H/8, W/8], [N, 4C, H/16, W/16], [N, 8C, H/32, W/32], rounded down.
Official code and weights: https://github.com/raoyongming/HorNet. The ``7x7`` forms mix pixels with depthwise
convolutions; the ``gf`` forms have a learnt filter over the whole spectrum in the two last stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
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
from foveal.errors import ConfigError
from foveal.layers import DropPath, LayerNorm2d, pointwise
from foveal.layers.gated_conv import RecursiveGatedConv, resize_filter
from foveal.registry import MODELS

DEPTHS = (2, 3, 18, 2)
ORDERS = (2, 3, 4, 5)

# side of the square images whose spectrum the filters cover, in the official code of each task
FILTERS = {"classification": 224, "detection": 224, "segmentation": 384}
LARGE_FILTERS = {**FILTERS, "detection": 384}

ARCHS: dict[str, dict[str, Any]] = {
    "tiny_7x7": {"depths": DEPTHS, "base_dim": 64, "filters": None},
    "tiny_gf": {"depths": DEPTHS, "base_dim": 64, "filters": FILTERS},
    "small_7x7": {"depths": DEPTHS, "base_dim": 96, "filters": None},
    "small_gf": {"depths": DEPTHS, "base_dim": 96, "filters": FILTERS},
    "base_7x7": {"depths": DEPTHS, "base_dim": 128, "filters": None},
    "base_gf": {"depths": DEPTHS, "base_dim": 128, "filters": FILTERS},
    "large_7x7": {"depths": DEPTHS, "base_dim": 192, "filters": None},
    "large_gf": {"depths": DEPTHS, "base_dim": 192, "filters": LARGE_FILTERS},
}


class Block(nn.Module):
    """A recursive gated convolution and a pointwise MLP of four times the width, each on a scaled residual path.

    Args:
        dim: C.
        order: Of the gated convolution.
        filter_size: Of its global filter; None: it has a 7x7 convolution.
        drop_path: Probability of dropping a branch.
        layer_scale_init_value: Initial value of the branches' scales; 0: no scales.
    """

    def __init__(
        self,
        dim: int,
        order: int,
        filter_size: tuple[int, int] | None,
        drop_path: float,
        layer_scale_init_value: float,
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(dim)
        self.gnconv = RecursiveGatedConv(dim, order, filter_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        scaled = layer_scale_init_value > 0
        self.gamma1 = nn.Parameter(torch.full((dim,), layer_scale_init_value)) if scaled else None
        self.gamma2 = nn.Parameter(torch.full((dim,), layer_scale_init_value)) if scaled else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = self.gnconv(self.norm1(x))
        if self.gamma1 is not None:
            y = self.gamma1[:, None, None] * y
        x = x + self.drop_path(y)
        y = self.norm2(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = pointwise(F.gelu(pointwise(y, self.pwconv1)), self.pwconv2)
        if self.gamma2 is not None:
            y = self.gamma2[:, None, None] * y
        return x + self.drop_path(y)


@MODELS.register_module()
class HorNet(BaseModule):
    """HorNet as a backbone, with the official dense-prediction code's norms on its outputs.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depths=…, base_dim=…, filters=…)``: four numbers; the first stage's
            channels, a multiple of 4; None for the 7x7 form, or the image side for each task.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 3.
        task: ``classification``, ``detection`` or ``segmentation``: whose official filter sizes a gf form has. Filters
            are resized to each image's spectrum, so the maps differ a little from task to task.
        img_size: Side in pixels of the images whose spectrum the filters of a gf form cover; None: as ``task`` says.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        layer_scale_init_value: Of the blocks' scales; 0: no scales.
        output_norm: LayerNorm on every map that is returned. The classification trunk has none.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices``, ``frozen_stages`` or ``task`` names what is not there, or
            ``img_size`` is below 32.
    """

    blocks_per_layer = 2  # of the third stage, in the authors' layer-wise decay

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "tiny_7x7",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        task: str = "classification",
        img_size: int | None = None,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        output_norm: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": ["Conv2d", "Linear"], "std": 0.02, "bias": 0.0})
        numbers = resolve_arch(arch, ARCHS, "HorNet")
        depths, base_dim = numbers["depths"], numbers["base_dim"]
        if base_dim % 4:
            raise ConfigError(f"HorNet's base_dim must be a multiple of 4, got {base_dim}")
        dims = [base_dim * 2**i for i in range(4)]
        sizes = [None, None, *_filter_sizes(numbers["filters"], task, img_size)]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "HorNet")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        stem = nn.Sequential(nn.Conv2d(in_channels, dims[0], 4, stride=4), LayerNorm2d(dims[0]))
        between = [nn.Sequential(LayerNorm2d(a), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairwise(dims)]
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, order, size, rate, layer_scale_init_value) for rate in rates))
            for dim, order, size, rates in zip(
                dims, ORDERS, sizes, drop_path_rates(drop_path_rate, depths), strict=True
            )
        )
        for i in self.out_indices if output_norm else ():
            self.add_module(f"norm{i}", LayerNorm2d(dims[i]))
        self.output_norm = output_norm
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``; odd sizes lose their last row or column."""
        check_input(x, self.in_channels, "HorNet")
        maps = []
        for i in range(self.out_indices[-1] + 1):
            x = self.downsample_layers[i](x)
            for block in self.stages[i].children():
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x) if self.output_norm else x)
        return tuple(maps)

    def train(self, mode: bool = True) -> HorNet:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        layers = self.downsample_layers
        parts = [[layers[0]], *([layers[i], self.stages[i]] if i else [self.stages[0]] for i in range(len(layers)))]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


def _filter_sizes(
    filters: Mapping[str, int] | None, task: str, img_size: int | None
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """The filter sizes of the third and of the fourth stage."""
    tasks = filters or FILTERS
    if task not in tasks:
        raise ConfigError(f"HorNet's task must be one of {', '.join(tasks)}; got {task!r}")
    if img_size is not None and img_size < 32:
        raise ConfigError(f"HorNet's img_size must be at least 32 pixels, got {img_size}")
    if filters is None:
        return None, None
    height = (img_size or filters[task]) // 16
    return (height, height // 2 + 1), (height // 2, height // 4 + 1)


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Resize the spectral filters to those wanted, as the official loaders do when they fine-tune at another size."""
    converted = dict(official)
    for key, value in official.items():
        target = wanted.get(key)
        # other channels are another variant's file, which is refused later
        if key.endswith(".complex_weight") and target is not None and value.shape[::3] == target.shape[::3]:
            converted[key] = resize_filter(value, (target.shape[1], target.shape[2]))
    resized = sum(converted[key] is not value for key, value in official.items())
    if resized:
        print_log(f"HorNet: {resized} spectral filters of the file resized to the model's", logger="current")
    return converted


_NAMES: dict[str, dict[str, Any]] = {f"hornet_{arch}": {"arch": arch} for arch in ARCHS}
_NAMES |= {f"hornet_{arch}_img384": {"arch": arch, "img_size": 384} for arch in ("base_gf", "large_gf")}

register_family(
    HorNet,
    _NAMES,
    trunk={"output_norm": False, "out_indices": (3,)},
    head={"type": "ClsHead", "tail": {"type": "ConvNeXtTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
    convert=convert_state_dict,
)
