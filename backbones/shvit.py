"""SHViT: Single-Head Vision Transformer with Memory Efficient Macro Design (Yun & Ro, CVPR 2024, arXiv:2401.16456).

Features: [N, 3, H, W] to [N, C1, H/16, W/16], [N, C2, H/32, W/32], [N, C3, H/64, W/64], rounded up: three maps.
Official code and weights: https://github.com/ysj9909/SHViT. Its detectors keep the statistics of batch normalisation:
``norm_eval=True``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foveal.backbones.catalog import StateDict, register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.layers import DropPath, SqueezeExcite
from foveal.registry import MODELS

# the first stage has no attention
ARCHS: dict[str, dict[str, Any]] = {
    "s1": {"depths": (2, 4, 5), "dims": (128, 224, 320), "partial_dims": (32, 48, 68)},
    "s2": {"depths": (2, 4, 5), "dims": (128, 308, 448), "partial_dims": (32, 66, 96)},
    "s3": {"depths": (3, 5, 5), "dims": (192, 352, 448), "partial_dims": (48, 75, 96)},
    "s4": {"depths": (4, 7, 6), "dims": (224, 336, 448), "partial_dims": (48, 72, 96)},
}

QK_DIM = 16


class ConvBN(nn.Sequential):
    """Convolution without bias and batch normalisation, under the official names ``c`` and ``bn``.

    Args:
        in_dim: Channels that come in.
        dim: Channels that go out.
        kernel_size: Of the convolution, which pads to keep the size.
        stride: Of the convolution.
        groups: Of the convolution.
        zero: Start with a scale of zero: the layer closes a residual branch.
    """

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, groups: int = 1, zero: bool = False
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(in_dim, dim, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(dim)
        if zero:
            nn.init.zeros_(self.bn.weight)

    def fuse(self) -> nn.Conv2d:
        """Return one convolution that computes what this layer computes in eval mode."""
        return fuse_conv_bn_eval(self.c.eval(), self.bn.eval())


class Residual(nn.Module):
    """``x + m(x)``.

    Args:
        m: The branch.
        drop_path: Probability of dropping it.
    """

    def __init__(self, m: nn.Module, drop_path: float = 0.0) -> None:
        super().__init__()
        self.m = m
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x + self.drop_path(self.m(x))


class FFN(nn.Module):
    """Two pointwise convolutions with ReLU between, twice as wide inside.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pw1 = ConvBN(dim, 2 * dim)
        self.act = nn.ReLU()
        self.pw2 = ConvBN(2 * dim, dim, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.pw2(self.act(self.pw1(x)))


class SHSA(nn.Module):
    """Attention with a single head among the first channels; the others join again before the projection.

    Args:
        dim: C.
        partial_dim: Channels that attend.
    """

    def __init__(self, dim: int, partial_dim: int) -> None:
        super().__init__()
        self.shares = (partial_dim, dim - partial_dim)
        self.pre_norm = nn.GroupNorm(1, partial_dim)
        self.qkv = ConvBN(partial_dim, 2 * QK_DIM + partial_dim)
        self.proj = nn.Sequential(nn.ReLU(), ConvBN(dim, dim, zero=True))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        part, rest = x.split(self.shares, 1)
        q, k, v = self.qkv(self.pre_norm(part)).flatten(2).split((QK_DIM, QK_DIM, self.shares[0]), 1)
        attention = ((q * QK_DIM**-0.5).transpose(1, 2) @ k).softmax(-1)  # [N, H * W, H * W]
        part = (v @ attention.transpose(1, 2)).reshape(part.shape)
        return self.proj(torch.cat((part, rest), 1))


class Block(nn.Module):
    """Depthwise convolution, attention where the stage has it, and FFN, each on a residual path.

    Args:
        dim: C.
        partial_dim: Channels that attend; None: the stage has no attention.
        drop_path: Probability of dropping a branch.
    """

    def __init__(self, dim: int, partial_dim: int | None, drop_path: float) -> None:
        super().__init__()
        self.conv = Residual(ConvBN(dim, dim, 3, groups=dim, zero=True), drop_path)
        self.mixer = nn.Identity() if partial_dim is None else Residual(SHSA(dim, partial_dim), drop_path)
        self.ffn = Residual(FFN(dim), drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.ffn(self.mixer(self.conv(x)))


class PatchMerging(nn.Module):
    """Halve the resolution by an inverted bottleneck of four times the width, with squeeze and excitation.

    Args:
        in_dim: Channels that come in.
        dim: Channels that go out.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        inner = 4 * in_dim
        self.conv1 = ConvBN(in_dim, inner)
        self.act = nn.ReLU()
        self.conv2 = ConvBN(inner, inner, 3, stride=2, groups=inner)
        self.se = SqueezeExcite(inner)
        self.conv3 = ConvBN(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_dim, H, W] to [N, dim, H / 2, W / 2], rounded up."""
        return self.conv3(self.se(self.act(self.conv2(self.act(self.conv1(x))))))


@MODELS.register_module()
class SHViT(BaseModule):
    """SHViT as a backbone with three maps.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depths=…, dims=…, partial_dims=…)`` with three numbers each.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 2.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; None: PyTorch's, with the branches at zero.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = "s1",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        depths, dims, partial_dims = resolve_arch(arch, ARCHS, "SHViT").values()
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "SHViT")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(16 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        widths = (in_channels, dims[0] // 8, dims[0] // 4, dims[0] // 2, dims[0])
        stem = [layer for a, b in pairwise(widths) for layer in (ConvBN(a, b, 3, stride=2), nn.ReLU())]
        self.patch_embed = nn.Sequential(*stem[:-1])
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            blocks = [Block(dims[i], partial_dims[i] if i else None, rate) for rate in rates]
            halve = _halve(dims[i - 1], dims[i]) if i else []
            self.add_module(f"blocks{i + 1}", nn.Sequential(*halve, *blocks))
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "SHViT")
        x = self.patch_embed(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            for block in getattr(self, f"blocks{i + 1}"):
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def switch_to_deploy(self) -> None:
        """Fuse, in place and for inference, batch normalisation and the depthwise residual paths with convolutions."""
        _fuse(self)

    def train(self, mode: bool = True) -> SHViT:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        parts = [[part] for part in (self.patch_embed, self.blocks1, self.blocks2, self.blocks3)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def stage_of(self, name: str) -> tuple[int, int | None] | None:
        """Return the stage and block of a parameter, for layer-wise decay, and None for the stem's names."""
        match = re.match(r"blocks(\d)\.(\d+)\.", name)
        if match is None:
            return None
        stage, block = int(match[1]) - 1, int(match[2])
        if stage == 0:
            return 0, block
        return stage, block - 3 if block >= 3 else None  # the first three halve the map, as _halve makes them


@MODELS.register_module()
class SHViTTail(nn.Module):
    """What follows the trunk in the official classification network: mean, batch normalisation, linear layer.

    Args:
        in_channels: C of the last map.
        num_classes: K.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        layers = {"bn": nn.BatchNorm1d(in_channels), "l": nn.Linear(in_channels, num_classes)}
        self.head: Any = nn.Sequential(OrderedDict(layers))

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map the last of the feature maps, [N, C, H, W], to logits [N, K]."""
        return self.head(feats[-1].mean((-2, -1)))

    @torch.no_grad()
    def switch_to_deploy(self) -> None:
        """Fuse, in place and for inference, batch normalisation with the linear layer."""
        norm, linear = self.head
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        linear.bias += linear.weight @ (norm.bias - norm.running_mean * scale)
        linear.weight *= scale
        self.head = linear


def _halve(in_dim: int, dim: int) -> list[nn.Module]:
    """The three layers between two stages."""
    around = [
        nn.Sequential(Residual(ConvBN(width, width, 3, groups=width)), Residual(FFN(width))) for width in (in_dim, dim)
    ]
    return [around[0], PatchMerging(in_dim, dim), around[1]]


@torch.no_grad()
def _fuse(module: nn.Module) -> None:
    """Put one convolution in the place of every `ConvBN` and of every residual path around one."""
    for name, child in module.named_children():
        if isinstance(child, ConvBN):
            setattr(module, name, child.fuse())
        elif isinstance(child, Residual) and isinstance(child.m, ConvBN):
            conv = child.m.fuse()
            conv.weight[:, 0, 1, 1] += 1.0
            setattr(module, name, conv)
        else:
            _fuse(child)


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Turn linear layers into the 1x1 convolutions that they are here, as the official loader does."""
    convolutions = {key for key, value in wanted.items() if value.ndim == 4}
    return {
        key: value[:, :, None, None] if value.ndim == 2 and key in convolutions else value
        for key, value in official.items()
    }


register_family(
    SHViT,
    {f"shvit_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"out_indices": (2,)},
    head={"type": "ClsHead", "tail": {"type": "SHViTTail"}},
    tail_keys=r"head\.",
    convert=convert_state_dict,
)
