"""TransNeXt: Robust Foveal Visual Perception for Vision Transformers (Shi, CVPR 2024, arXiv:2311.17132).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded up.
Official code and weights: https://github.com/DaiShiResearch/TransNeXt. The classification network and the
dense-prediction one have the same norms and maps; at the size that the position biases were made for they are equal.
Inside, maps are [N, H, W, C].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
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
from foveal.errors import ConfigError
from foveal.layers import DropPath
from foveal.ops.aggregated_attention import AggregatedAttention, CosineAttention, Positions, make_positions
from foveal.registry import MODELS

_MICRO = {"depths": (2, 2, 15, 2), "embed_dims": (48, 96, 192, 384), "num_heads": (2, 4, 8, 16)}
_SMALL = {"embed_dims": (72, 144, 288, 576), "num_heads": (3, 6, 12, 24)}
_POOLS = {"sr_ratios": (8, 4, 2, 1), "pretrain_size": 224}

ARCHS: dict[str, dict[str, Any]] = {
    "micro": {**_MICRO, **_POOLS},
    "micro_AAAA": {**_MICRO, "sr_ratios": (16, 8, 4, 2), "pretrain_size": 256},
    "tiny": {"depths": (2, 2, 15, 2), **_SMALL, **_POOLS},
    "small": {"depths": (5, 5, 22, 5), **_SMALL, **_POOLS},
    "base": {"depths": (5, 5, 23, 5), "embed_dims": (96, 192, 384, 768), "num_heads": (4, 8, 16, 32), **_POOLS},
}

MLP_RATIOS = (8, 8, 4, 4)
# side of the images whose positions the biases are made for, in the official code of each task; None: pretrain_size
IMG_SIZES = {"classification": None, "detection": 800, "segmentation": 512}


class Attention(CosineAttention):
    """Attention of every pixel to all pixels.

    Args:
        dim: C.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x: Tensor, positions: Positions) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        q, k, v = self.split(self.qkv(x)).chunk(3, 3)
        q = self.query(F.normalize(q, dim=-1), positions)
        q, k, v = (y.to(v.dtype).flatten(1, 2).transpose(1, 2) for y in (q, F.normalize(k, dim=-1), v))
        bias = self.position_bias(positions).to(v.dtype).unsqueeze(0)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return self.proj(out.transpose(1, 2).reshape(x.shape))


class DWConv(nn.Module):
    """Depthwise 3x3 convolution.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        init_conv(self.dwconv)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        return self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvolutionalGLU(nn.Module):
    """Gated linear unit whose gate looks at the neighbours.

    Args:
        dim: C.
        hidden: Width between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 2 * hidden)
        self.dwconv = DWConv(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        gate, value = self.fc1(x).chunk(2, -1)
        return self.fc2(F.gelu(self.dwconv(gate)) * value)


class Block(nn.Module):
    """Attention and a gated linear unit, each behind a norm and on a residual path.

    Args:
        dim: C.
        num_heads: Heads.
        mlp_ratio: Of the unit's width to C, before the third that the gate costs.
        sr_ratio: Pixels to one pooled one along each axis; 1: attention to all pixels.
        drop_path: Probability of dropping a branch.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int, sr_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads) if sr_ratio == 1 else AggregatedAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = ConvolutionalGLU(dim, 2 * mlp_ratio * dim // 3)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, positions: Positions) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x), positions))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class OverlapPatchEmbed(nn.Module):
    """Strided convolution and a norm.

    Args:
        in_channels: Channels that come in.
        dim: C.
        patch_size: Side of the kernel.
        stride: Of the kernel.
    """

    def __init__(self, in_channels: int, dim: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride, padding=patch_size // 2)
        self.norm = nn.LayerNorm(dim)
        init_conv(self.proj)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, H / stride, W / stride, C], rounded up."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


def init_conv(conv: nn.Conv2d) -> None:
    """Keep the scale of gradients, counting the channels of one group."""
    height, width = conv.kernel_size
    nn.init.normal_(conv.weight, std=(2 * conv.groups / (height * width * conv.out_channels)) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


@MODELS.register_module()
class TransNeXt(BaseModule):
    """TransNeXt as a backbone, its position biases resized to every image's size or made for it.

    Args:
        arch: A name in ``ARCHS``, or a dict with its keys: four ``depths``, ``embed_dims``, ``num_heads`` and
            ``sr_ratios``, and ``pretrain_size``.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 3.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        task: ``classification``, ``detection`` or ``segmentation``: whose official ``img_size`` is the default, that is
            ``pretrain_size``, 800 or 512.
        img_size: Side in pixels, at least 32, of the square images that the position biases are made for. They are
            resized to images of another size.
        pretrain_size: Side in pixels, at least 64, of the images of the first training, which sets the scale of
            distances; None: that of ``arch``.
        is_extrapolation: Make the biases for each image's own size instead of resizing them.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official initialisation.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices``, ``frozen_stages`` or ``task`` names what is not there, or a size is
            too small.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "tiny",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        task: str = "classification",
        img_size: int | None = None,
        pretrain_size: int | None = None,
        is_extrapolation: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02, "bias": 0.0})
        numbers = resolve_arch(arch, ARCHS, "TransNeXt")
        if task not in IMG_SIZES:
            raise ConfigError(f"TransNeXt's task must be one of {', '.join(IMG_SIZES)}; got {task!r}")
        self.pretrain_size = numbers["pretrain_size"] if pretrain_size is None else pretrain_size
        self.img_size = (IMG_SIZES[task] or self.pretrain_size) if img_size is None else img_size
        if self.pretrain_size < 64 or self.img_size < 32:
            raise ConfigError(
                "TransNeXt's pretrain_size must be at least 64 and its img_size at least 32; "
                f"got {self.pretrain_size} and {self.img_size}"
            )
        dims, self.sr_ratios = numbers["embed_dims"], tuple(numbers["sr_ratios"])
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "TransNeXt")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.is_extrapolation = is_extrapolation
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        for i, rates in enumerate(drop_path_rates(drop_path_rate, numbers["depths"])):
            embed = OverlapPatchEmbed(*((dims[i - 1], dims[i], 3, 2) if i else (in_channels, dims[0], 7, 4)))
            form = (dims[i], numbers["num_heads"][i], MLP_RATIOS[i], self.sr_ratios[i])
            self.add_module(f"patch_embed{i + 1}", embed)
            self.add_module(f"block{i + 1}", nn.ModuleList(Block(*form, rate) for rate in rates))
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dims[i], eps=1e-6))
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "TransNeXt")
        maps = []
        for i in range(self.out_indices[-1] + 1):
            embed, blocks, norm = self._stage(i)
            x = embed(x)
            positions = self.positions(i, x.shape[1], x.shape[2], x.device)
            for block in blocks:
                x = run(partial(block, positions=positions), x, self.with_cp)
            x = norm(x).permute(0, 3, 1, 2)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def positions(self, stage: int, height: int, width: int, device: torch.device) -> Positions:
        """Return what the blocks of a stage need to know about a map of ``height`` x ``width``."""
        stride, ratio = 4 * 2**stage, self.sr_ratios[stage]
        trained = None if self.is_extrapolation else self.img_size // stride
        return make_positions(height, width, self.pretrain_size // stride, ratio, trained, device)

    def train(self, mode: bool = True) -> TransNeXt:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        stages = [self._stage(i) for i in range(len(self.sr_ratios))]
        parts = [[stages[0][0]], stages[0][1:], *stages[1:]]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def stage_of(self, name: str) -> tuple[int, int] | None:
        """Return the stage and last block before a norm, for layer-wise decay, and None for other parameters' names."""
        match = re.match(r"norm(\d)\.", name)
        return None if match is None else (int(match[1]) - 1, len(self._stage(int(match[1]) - 1)[1]) - 1)

    def _stage(self, i: int) -> tuple[Any, Any, Any]:
        """The patch embedding, blocks and norm of stage ``i``."""
        return tuple(getattr(self, f"{name}{i + 1}") for name in ("patch_embed", "block", "norm"))


@MODELS.register_module()
class TransNeXtTail(nn.Module):
    """What follows the trunk in the official classification network: mean over the pixels and a linear layer.

    Args:
        in_channels: C of the last map.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map the last of the feature maps, [N, C, H, W], to logits [N, K]."""
        return self.head(feats[-1].mean((-2, -1)))


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Leave out the tables of positions, which old mmcv writes into the files of detectors and segmentors."""
    made = re.compile(r"(relative_(pos_index|coords_table)\d|.*\.(seq_length_scale|padding_mask))$")
    return {key: value for key, value in official.items() if not made.match(key)}


register_family(
    TransNeXt,
    {f"transnext_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"out_indices": (3,)},
    head={"type": "ClsHead", "tail": {"type": "TransNeXtTail"}},
    tail_keys=r"head\.",
    convert=convert_state_dict,
)
