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
from typing import Any, NamedTuple

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
from foveal.ops import aggregated_attention
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
WINDOW = 3
# side of the images whose positions the biases are made for, in the official code of each task; None: pretrain_size
IMG_SIZES = {"classification": None, "detection": 800, "segmentation": 512}


class Axis(NamedTuple):
    """How far every query is from every pooled key, along the rows or the columns of a map.

    Args:
        coords: Float [U], the distances that occur, on a logarithmic scale.
        lookup: Int64 [Q, K], which of them is between a query and a key.
        queries: Number of queries that the map has, if the bias is to be resized to it from Q,
        keys: and of pooled keys.
    """

    coords: Tensor
    lookup: Tensor
    queries: int
    keys: int


class Positions(NamedTuple):
    """What the blocks of a stage need to know about their map.

    Args:
        rows: Along H.
        columns: Along W.
        log_length: Logarithm of the number of keys a query attends to, float [H, W, 1, 1] or [].
    """

    rows: Axis
    columns: Axis
    log_length: Tensor


def make_axis(trained: int, actual: int, pretrained: int, ratio: int, device: torch.device) -> Axis:
    """Measure the distances along an axis.

    Args:
        trained: Length that the bias is made for.
        actual: Length that it is resized to.
        pretrained: Length that counts as a distance of 8, before the logarithm.
        ratio: Queries to one pooled key, at least 1.
        device: Of the tensors.

    Returns:
        The axis.
    """
    pools = max(trained // ratio, 1)
    # adaptive pooling averages positions first … last: the centres, doubled, are first + last, and whole numbers
    centres = [j * trained // pools + -(-(j + 1) * trained // pools) - 1 for j in range(pools)]
    step = 2 if all(centre % 2 == centres[0] % 2 for centre in centres) else 1
    low, high = -max(centres), 2 * (trained - 1) - min(centres)
    queries = torch.arange(0, 2 * trained, 2, device=device)
    lookup = (queries[:, None] - torch.tensor(centres, device=device) - low) // step
    # float32 whatever the network computes in: the weights were trained with values rounded so
    distance = torch.arange(low, high + 1, step, device=device, dtype=torch.float32) / 2 / (pretrained - 1) * 8
    coords = distance.sign() * (distance.abs() + 1).log2() / 3
    return Axis(coords, lookup, actual, max(actual // ratio, 1))


def local_count(length: int, device: torch.device) -> Tensor:
    """Return, float32 [length], how many positions of the window around each position are inside the axis."""
    position = torch.arange(length, device=device)
    edge = WINDOW // 2
    return ((position + edge).clamp(max=length - 1) - (position - edge).clamp(min=0) + 1).float()


class CosineAttention(nn.Module):
    """What both forms of attention share: cosine similarity, its scale, and the bias of positions.

    Args:
        dim: C.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        # softplus of it is 1 / 0.24
        self.temperature = nn.Parameter(torch.full((num_heads, 1, 1), 1 / 0.24).expm1().log())
        self.query_embedding = nn.Parameter(torch.empty(num_heads, 1, dim // num_heads))
        nn.init.trunc_normal_(self.query_embedding, std=0.02)
        self.proj = nn.Linear(dim, dim)
        self.cpb_fc1 = nn.Linear(2, 512)
        self.cpb_fc2 = nn.Linear(512, num_heads)

    def split(self, x: Tensor) -> Tensor:
        """Map [..., n * C] to [..., n * heads, C / heads]."""
        return x.unflatten(-1, (-1, self.query_embedding.shape[2]))

    def query(self, q: Tensor, positions: Positions) -> Tensor:
        """Embed and scale queries of unit length, [N, H, W, heads, C / heads]."""
        scale = F.softplus(self.temperature[:, 0]) * positions.log_length
        return (q + self.query_embedding[:, 0]) * scale

    def position_bias(self, positions: Positions) -> Tensor:
        """Return the bias of H * W queries to P pooled keys, [heads, H * W, P]."""
        rows, columns = positions.rows, positions.columns
        coords = torch.stack(torch.meshgrid(columns.coords, rows.coords, indexing="ij"), -1).flip(-1)
        table = self.cpb_fc2(F.relu(self.cpb_fc1(coords.to(self.cpb_fc1.weight.dtype)), inplace=True))
        bias = _spread(table.permute(2, 0, 1), rows)  # (heads, columns' U, H, keys)
        bias = _spread(bias.permute(0, 2, 3, 1).flatten(1, 2), columns)  # (heads, H * keys, W, keys)
        bias = bias.unflatten(1, (rows.queries, rows.keys)).permute(0, 2, 4, 1, 3)
        # the memory's order is that in which the operator reads it
        return bias.reshape(self.num_heads, rows.keys * columns.keys, -1).transpose(1, 2)


def _spread(table: Tensor, axis: Axis) -> Tensor:
    """Map biases of distances, [heads, n, U], to those of queries and keys, [heads, n, queries, keys]."""
    bias = table.index_select(2, axis.lookup.flatten()).unflatten(2, axis.lookup.shape)
    size = (axis.queries, axis.keys)
    # a bilinear map in two axes of the image is one map after the other
    return bias if bias.shape[2:] == size else F.interpolate(bias, size, mode="bilinear")


class AggregatedAttention(CosineAttention):
    """Attention to the window around each pixel and to pooled pixels at once.

    Args:
        dim: C.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.sr = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim)
        self.relative_pos_bias_local = nn.Parameter(torch.empty(num_heads, WINDOW**2))
        self.learnable_tokens = nn.Parameter(torch.empty(num_heads, dim // num_heads, WINDOW**2))
        self.learnable_bias = nn.Parameter(torch.zeros(num_heads, 1, WINDOW**2))
        nn.init.trunc_normal_(self.relative_pos_bias_local, std=0.0004)
        nn.init.trunc_normal_(self.learnable_tokens, std=0.02)
        init_conv(self.sr)

    def forward(self, x: Tensor, positions: Positions) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        q = F.normalize(self.split(self.q(x)), dim=-1)
        k, v = self.split(self.kv(x)).chunk(2, 3)
        pooled = F.gelu(self.sr(x.permute(0, 3, 1, 2)))
        pooled = F.adaptive_avg_pool2d(pooled, (positions.rows.keys, positions.columns.keys))
        k_pool, v_pool = self.split(self.kv(self.norm(pooled.flatten(2).transpose(1, 2)))).chunk(2, 2)
        weights = torch.einsum("nhwgd,gdk->nhwgk", q, self.learnable_tokens) + self.learnable_bias[:, 0]
        out = aggregated_attention(
            self.query(q, positions).to(v.dtype),
            F.normalize(k, dim=-1).to(v.dtype),
            v,
            F.normalize(k_pool, dim=-1).to(v.dtype),
            v_pool,
            WINDOW,
            self.relative_pos_bias_local.to(v.dtype),
            self.position_bias(positions).to(v.dtype),
            weights.to(v.dtype),
            scale=1.0,
        )
        return self.proj(out.flatten(3))


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
        trained, pretrained = self.img_size // stride, self.pretrain_size // stride
        rows, columns = (
            make_axis(length if self.is_extrapolation else trained, length, pretrained, ratio, device)
            for length in (height, width)
        )
        keys = torch.full((), rows.keys * columns.keys, device=device, dtype=torch.float32)
        if ratio > 1:
            keys = keys + (local_count(height, device)[:, None] * local_count(width, device))[:, :, None, None]
        return Positions(rows, columns, keys.log())

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
