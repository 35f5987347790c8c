"""EfficientViM: Efficient Vision Mamba with Hidden State Mixer based State Space Duality (Lee et al., CVPR 2025).

Paper: arXiv:2411.15241. Official code and weights: https://github.com/mlvlab/EfficientViM; timm's weights are read too.
Features: [N, 3, H, W] to [N, C1, H/16, W/16], [N, C2, H/32, W/32], [N, C3, H/64, W/64], rounded up: three maps. The
official detectors and segmentors keep the statistics of batch normalisation: ``norm_eval=True``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from foveal.errors import ConfigError
from foveal.layers import DropPath, SqueezeExcite
from foveal.ops.state_space_duality import HSMSSD
from foveal.registry import MODELS

ARCHS: dict[str, dict[str, Any]] = {
    "m1": {"depths": (2, 2, 2), "embed_dim": (128, 192, 320), "state_dim": (49, 25, 9)},
    "m2": {"depths": (2, 2, 2), "embed_dim": (128, 256, 512), "state_dim": (49, 25, 9)},
    "m3": {"depths": (2, 2, 2), "embed_dim": (224, 320, 512), "state_dim": (49, 25, 9)},
    "m4": {"depths": (3, 4, 2), "embed_dim": (224, 320, 512), "state_dim": (64, 32, 16)},
}

MLP_RATIO = 4


class ConvLayer(nn.Module):
    """Convolution without bias, batch normalisation, and ReLU or nothing.

    Args:
        in_dim: Channels that come in.
        dim: Channels that go out.
        kernel_size: Of the convolution, which pads to keep the size.
        stride: Of the convolution.
        groups: Of the convolution.
        act: Whether there is the ReLU.
    """

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, groups: int = 1, act: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, dim, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_dim, H, W] to [N, dim, H / stride, W / stride], rounded up."""
        return self.act(self.norm(self.conv(x)))


class ChannelNorm(nn.Module):
    """LayerNorm whose weights are shaped as for channels in the second place, as in official files.

    Args:
        dim: C.
        spatial: Number of dimensions after the channels.
    """

    def __init__(self, dim: int, spatial: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dim, *(1,) * spatial))
        self.bias = nn.Parameter(torch.zeros(1, dim, *(1,) * spatial))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [..., C] over C."""
        return F.layer_norm(x, x.shape[-1:], self.weight.flatten(), self.bias.flatten(), 1e-5)


class FFN(nn.Module):
    """Two pointwise convolutions with ReLU between.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = ConvLayer(dim, MLP_RATIO * dim, act=True)
        self.fc2 = ConvLayer(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.fc2(self.fc1(x))


class Block(nn.Module):
    """Depthwise convolution, mixer, depthwise convolution and FFN, each weighed against its input by channel.

    Args:
        dim: C.
        state_dim: S, number of hidden states.
        drop_path: Probability of passing a layer by.
    """

    def __init__(self, dim: int, state_dim: int, drop_path: float) -> None:
        super().__init__()
        self.mixer = HSMSSD(dim, state_dim)
        self.norm = ChannelNorm(dim, 1)
        self.dwconv1 = ConvLayer(dim, dim, 3, groups=dim)
        self.dwconv2 = ConvLayer(dim, dim, 3, groups=dim)
        self.ffn = FFN(dim)
        self.alpha = nn.Parameter(1e-4 * torch.ones(4, dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to the same shape, and to the hidden states [N, S, C]."""
        alpha = self.alpha.sigmoid()[:, None, :, None, None]  # (4, 1, C, 1, 1)
        x = self._mix(x, self.dwconv1(x), alpha[0])
        y, h = self.mixer(self.norm(x.flatten(2).transpose(1, 2)), *x.shape[2:])
        x = self._mix(x, y, alpha[1])
        x = self._mix(x, self.dwconv2(x), alpha[2])
        return self._mix(x, self.ffn(x), alpha[3]), h

    def _mix(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """The mean of ``x`` and ``y``, the latter with a weight; autocast leaves the types of all three different."""
        weight = self.drop_path(weight.expand(len(x), -1, -1, -1))
        return x.to(weight.dtype).lerp(y.to(weight.dtype), weight)


class Stem(nn.Module):
    """Four strided convolutions.

    Args:
        in_channels: Channels of the images.
        dim: C.
    """

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        widths = (in_channels, dim // 8, dim // 4, dim // 2, dim)
        self.conv = nn.Sequential(*(ConvLayer(a, b, 3, stride=2, act=b < dim) for a, b in pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, C, H / 16, W / 16], rounded up."""
        return self.conv(x)


class PatchMerging(nn.Module):
    """Halve the resolution by an inverted bottleneck, between two depthwise convolutions.

    Args:
        in_dim: Channels that come in.
        dim: Channels that go out; the bottleneck is four times as wide inside.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        inner = 4 * dim
        self.conv = nn.Sequential(
            ConvLayer(in_dim, inner, act=True),
            ConvLayer(inner, inner, 3, stride=2, groups=inner, act=True),
            SqueezeExcite(inner),
            ConvLayer(inner, dim),
        )
        self.dwconv1 = ConvLayer(in_dim, in_dim, 3, groups=in_dim)
        self.dwconv2 = ConvLayer(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_dim, H, W] to [N, dim, H / 2, W / 2], rounded up."""
        x = self.conv(x + self.dwconv1(x))
        return x + self.dwconv2(x)


class Stage(nn.Module):
    """Blocks at one resolution, before what halves it.

    Args:
        blocks: The blocks.
        dim: Their channels.
        next_dim: Channels of the next stage; None: this is the last.
    """

    def __init__(self, blocks: Iterable[Block], dim: int, next_dim: int | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = None if next_dim is None else PatchMerging(dim, next_dim)

    def forward(self, x: Tensor, with_cp: bool) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to the same shape, and to the hidden states [N, S, C] of the last block."""
        h = x
        for block in self.blocks:
            x, h = run(block, x, with_cp)
        return x, h


@MODELS.register_module()
class EfficientViM(BaseModule):
    """EfficientViM as a backbone with three maps.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depths=…, embed_dim=…, state_dim=…)`` with three numbers each.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 2.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; None: PyTorch's, with the blocks' layers at half weight.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = "m1",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        numbers = resolve_arch(arch, ARCHS, "EfficientViM")
        dims, states = numbers["embed_dim"], numbers["state_dim"]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "EfficientViM")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(16 * 2**i for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        self.patch_embed = Stem(in_channels, dims[0])
        self.stages: Any = nn.ModuleList(
            Stage((Block(dim, state, rate) for rate in rates), dim, next_dim)
            for dim, next_dim, state, rates in zip(
                dims, (*dims[1:], None), states, drop_path_rates(drop_path_rate, numbers["depths"]), strict=True
            )
        )
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        maps, _ = self._maps_and_states(x, self.out_indices[-1])
        return tuple(maps[i] for i in self.out_indices)

    def forward_states(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to each stage's hidden states [N, S, C] and the last map [N, C, H, W]."""
        maps, states = self._maps_and_states(x, len(self.stages) - 1)
        return *states, maps[-1]

    def _maps_and_states(self, x: Tensor, last: int) -> tuple[list[Tensor], list[Tensor]]:
        """The maps and the hidden states of the stages up to ``last``."""
        check_input(x, self.in_channels, "EfficientViM")
        x = self.patch_embed(x)
        maps: list[Tensor] = []
        states: list[Tensor] = []
        for i in range(last + 1):
            if i > 0:
                x = self.stages[i - 1].downsample(x)
            x, h = self.stages[i](x, self.with_cp)
            maps.append(x)
            states.append(h)
        return maps, states

    def train(self, mode: bool = True) -> EfficientViM:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        parts = [[self.patch_embed], *([stage] for stage in self.stages)]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


@MODELS.register_module()
class EfficientViMTail(nn.Module):
    """What follows the trunk in the official classification network: a vote of every stage's hidden states and the map.

    Args:
        in_channels: Channels of the three stages.
        num_classes: K.
        distillation: Have the second heads of the distilled networks. Logits are the mean of both, in training too: the
            official training, where a teacher teaches the second, is not here.

    Raises:
        ConfigError: If the backbone does not return all three maps.
    """

    reads = "forward_states"

    def __init__(self, in_channels: Sequence[int], num_classes: int, distillation: bool = False) -> None:
        super().__init__()
        if len(in_channels) != 3:
            raise ConfigError(
                "EfficientViM's classifier reads the hidden states of three stages, its backbone's out_indices must be "
                f"(0, 1, 2); got in_channels {list(in_channels)}"
            )
        dims = (*in_channels, in_channels[-1])
        self.norm = nn.ModuleList(ChannelNorm(dim, 1 + (i == 3)) for i, dim in enumerate(dims))
        self.heads = nn.ModuleList(nn.Linear(dim, num_classes) for dim in dims)
        self.weights = nn.Parameter(torch.ones(4))
        self.distillation = distillation
        if distillation:
            self.heads_dist = nn.ModuleList(nn.Linear(dim, num_classes) for dim in dims)
            self.weights_dist = nn.Parameter(torch.ones(4))

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map three hidden states [N, S, C] and the last map [N, C, H, W] to logits [N, K]."""
        *states, x = feats
        rows = (*states, x.flatten(2).transpose(1, 2))
        means = [norm(row).mean(1) for norm, row in zip(self.norm, rows, strict=True)]
        logits = _vote(means, self.heads, self.weights)
        return (logits + _vote(means, self.heads_dist, self.weights_dist)) / 2 if self.distillation else logits


def _vote(means: list[Tensor], heads: nn.ModuleList, weights: Tensor) -> Tensor:
    """The weighted mean of the heads' logits, [N, K]."""
    return torch.stack([head(mean) for head, mean in zip(heads, means, strict=True)], -1) @ weights.softmax(0)


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Give the norms of timm's files, whose weights are [C], the official shape."""
    vectors = {key for key, value in official.items() if value.ndim == 1 and key in wanted}
    return {
        key: value.reshape(wanted[key].shape) if key in vectors and value.numel() == wanted[key].numel() else value
        for key, value in official.items()
    }


for _suffix, _distillation in (("", {}), ("_dist", {"distillation": True})):
    register_family(
        EfficientViM,
        {f"efficientvim_{arch}{_suffix}": {"arch": arch} for arch in ARCHS},
        trunk={"out_indices": (0, 1, 2)},
        head={"type": "ClsHead", "in_index": None, "tail": {"type": "EfficientViMTail", **_distillation}},
        tail_keys=r"(norm|heads|heads_dist)\.|weights(_dist)?$",
        convert=convert_state_dict,
    )
