"""CvT: Introducing Convolutions to Vision Transformers (Wu et al., ICCV 2021, arXiv:2103.15808).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16]: three maps. The first one's sizes
are (H + 1) / 4 rounded down, those of the others are halved and rounded up.
Official code and weights: https://github.com/microsoft/CvT, which has no dense-prediction form: the maps are those of
its stages. The networks for 384 x 384 pixels are the same as those for 224 x 224.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
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
    run,
)
from foveal.layers import DropPath, LayerNorm2d
from foveal.registry import MODELS

ARCHS: dict[str, dict[str, Any]] = {
    "13": {"depths": (1, 2, 10), "dims": (64, 192, 384), "num_heads": (1, 3, 6)},
    "21": {"depths": (1, 4, 16), "dims": (64, 192, 384), "num_heads": (1, 3, 6)},
    "w24": {"depths": (2, 2, 20), "dims": (192, 768, 1024), "num_heads": (3, 12, 16)},
}


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values are made by depthwise 3x3 convolutions and linear layers.

    Keys and values have half the resolution. A class token, where there is one, comes first and passes by the
    convolutions.

    Args:
        dim: C.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = dim**-0.5  # of the whole width, not of a head's
        self.conv_proj_q = _depthwise(dim, 1)
        self.conv_proj_k = _depthwise(dim, 2)
        self.conv_proj_v = _depthwise(dim, 2)
        self.proj_q = nn.Linear(dim, dim)
        self.proj_k = nn.Linear(dim, dim)
        self.proj_v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens [N, L, C] to the same shape; the last H * W of them are a map of ``size`` (H, W)."""
        extra, grid = x.split((x.shape[1] - size[0] * size[1], size[0] * size[1]), 1)
        grid = grid.transpose(1, 2).unflatten(2, size)
        q = self._heads(extra, self.conv_proj_q(grid), self.proj_q)
        k = self._heads(extra, self.conv_proj_k(grid), self.proj_k)
        v = self._heads(extra, self.conv_proj_v(grid), self.proj_v)
        y = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(y.transpose(1, 2).flatten(2))

    def _heads(self, extra: Tensor, grid: Tensor, linear: nn.Linear) -> Tensor:
        """[N, 0 or 1, C] and [N, C, h, w] to [N, heads, L, C / heads]."""
        tokens = grid.flatten(2).transpose(1, 2)
        if extra.shape[1]:
            tokens = torch.cat((extra, tokens), 1)
        return linear(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with the sigmoid approximation of GELU between, four times as wide inside.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, L, C] to the same shape."""
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class Block(nn.Module):
    """Attention and an MLP, each behind a norm and on a residual path.

    Args:
        dim: C.
        num_heads: Of the attention.
        drop_path: Probability of dropping a branch.
    """

    def __init__(self, dim: int, num_heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens [N, L, C] to the same shape; the last H * W of them are a map of ``size`` (H, W)."""
        x = x + self.drop_path(self.attn(self.norm1(x), size))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ConvEmbed(nn.Module):
    """Convolution with a stride, and LayerNorm.

    Args:
        in_dim: Channels that come in.
        dim: Channels that go out.
        kernel_size: 7 with stride 4, or 3 with stride 2.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int) -> None:
        super().__init__()
        stride, padding = (4, 2) if kernel_size == 7 else (2, 1)
        self.proj = nn.Conv2d(in_dim, dim, kernel_size, stride, padding)
        self.norm = LayerNorm2d(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_dim, H, W] to [N, dim, h, w]."""
        return self.norm(self.proj(x))


class Stage(nn.Module):
    """Blocks at one resolution, behind the convolution that makes its tokens.

    Args:
        in_dim: Channels that come in.
        dim: C.
        kernel_size: Of that convolution.
        num_heads: Of the blocks.
        rates: One drop path rate a block.
        class_token: A token joins those of the map.
    """

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int, num_heads: int, rates: Sequence[float], class_token: bool
    ) -> None:
        super().__init__()
        self.patch_embed = ConvEmbed(in_dim, dim, kernel_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, num_heads, rate) for rate in rates)

    def forward(self, x: Tensor, with_cp: bool) -> tuple[Tensor, Tensor]:
        """Map [N, in_dim, H, W] to [N, C, h, w] and the class token [N, 1, C], or [N, 0, C] where there is none."""
        x = self.patch_embed(x)
        size = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), 1)
        for block in self.blocks:
            x = run(partial(block, size=size), x, with_cp)
        token, grid = x.split((x.shape[1] - size[0] * size[1], size[0] * size[1]), 1)
        return grid.transpose(1, 2).unflatten(2, size), token


@MODELS.register_module()
class CvT(BaseModule):
    """CvT as a backbone with three maps.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depths=…, dims=…, num_heads=…)`` with three numbers each.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 2.
        drop_path_rate: Of the last block; the last stage's blocks before it have less, evenly, and the other stages'
            none, as in the official configs.
        frozen_stages: -1 none, 0 the first convolution, n it and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal for linear layers.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = "13",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02, "bias": 0.0})
        numbers = resolve_arch(arch, ARCHS, "CvT")
        depths, dims, heads = (numbers[key] for key in ("depths", "dims", "num_heads"))
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "CvT")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        last = len(dims) - 1
        for i, dim in enumerate(dims):
            rates = drop_path_rates(drop_path_rate if i == last else 0.0, [depths[i]])[0]
            before = dims[i - 1] if i else in_channels
            self.add_module(f"stage{i}", Stage(before, dim, 3 if i else 7, heads[i], rates, class_token=i == last))
        self.num_stages = len(dims)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        maps, _ = self._run(x, self.out_indices[-1])
        return tuple(maps[i] for i in self.out_indices)

    def class_token(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to the class token [N, C] behind the last stage, which classification reads."""
        return self._run(x, self.num_stages - 1)[1][:, 0]

    def _run(self, x: Tensor, last: int) -> tuple[list[Tensor], Tensor]:
        """The maps of the stages up to ``last``, and its class token."""
        check_input(x, self.in_channels, "CvT")
        maps, token = [], x
        for i in range(last + 1):
            x, token = getattr(self, f"stage{i}")(x, self.with_cp)
            maps.append(x)
        return maps, token

    def train(self, mode: bool = True) -> CvT:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        stages = [getattr(self, f"stage{i}") for i in range(self.num_stages)]
        parts = [[part] for part in (stages[0].patch_embed, *stages)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


@MODELS.register_module()
class CvTTail(nn.Module):
    """What follows the trunk in the official classification network: LayerNorm of the class token, linear layer.

    Args:
        in_channels: C of the last stage.
        num_classes: K.
    """

    reads = "class_token"

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, token: Tensor) -> Tensor:
        """Map the class token [N, C] to logits [N, K]."""
        return self.head(self.norm(token))


def _depthwise(dim: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(dim, dim, 3, stride, 1, groups=dim, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(dim)))


register_family(
    CvT,
    # the files for 384 pixels are of the same networks; the releases and papers have names of their own for them
    {f"cvt_{arch}{size}": {"arch": arch} for arch in ARCHS for size in ("", "_384")},
    trunk={"out_indices": (2,)},
    head={"type": "ClsHead", "tail": {"type": "CvTTail"}},
    tail_keys=r"(norm|head)\.",
)
