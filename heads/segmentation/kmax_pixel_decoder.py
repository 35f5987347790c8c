"""kMaX-DeepLab's pixel decoder: axial attention on the coarse maps, bottlenecks on the fine ones (arXiv:2207.04044).

Axial attention with positions: Wang et al., ECCV 2020, arXiv:2003.07853. Names and order: ``kmax_pixel_decoder.py`` of
bytedance/kmax-deeplab.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import ConfigError, DataError
from foveal.heads.segmentation.kmax_layers import ConvBN, enlarge, norm, truncated_normal
from foveal.layers import DropPath, LayerNorm2d

HEADS = 8
MAX_SPAN = 255


class RelativePositionalEncoding(nn.Module):
    """A vector for every distance along an axis; key ``_embeddings``.

    Args:
        depth: D.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self._embeddings = nn.Embedding(2 * MAX_SPAN - 1, depth)
        truncated_normal(self._embeddings.weight, 1.0)

    def forward(self, length: int) -> Tensor:
        """Return the vectors [L, L, D] of all pairs of ``length`` positions.

        Raises:
            DataError: If there are more positions than distances are known.
        """
        if length > MAX_SPAN:
            raise DataError(f"kMaX-DeepLab's axial attention reaches {MAX_SPAN} cells, got an axis of {length}")
        position = torch.arange(length, device=self._embeddings.weight.device)
        return self._embeddings(position - position[:, None] + MAX_SPAN - 1)


class AxialAttention(nn.Module):
    """Attention along one axis with positions of queries, keys and values, normalised by batch.

    Args:
        in_channels: Channels that come in.
        key_depth: Channels of queries and keys, all heads together.
        value_depth: Channels of values, which go out.
    """

    def __init__(self, in_channels: int, key_depth: int, value_depth: int) -> None:
        super().__init__()
        self.depths = [key_depth, key_depth, value_depth]
        total = sum(self.depths)
        self.qkv_transform = ConvBN(in_channels, total, dims=1, normalise=False, act=None, std=in_channels**-0.5)
        self._query_rpe = RelativePositionalEncoding(key_depth // HEADS)
        self._key_rpe = RelativePositionalEncoding(key_depth // HEADS)
        self._value_rpe = RelativePositionalEncoding(value_depth // HEADS)
        self._batch_norm_qkv = norm(total)
        self._batch_norm_similarity = norm(3 * HEADS)
        self._batch_norm_retrieved_output = norm(2 * value_depth)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, L] to [N, value_depth, L]."""
        length = x.shape[2]
        qkv = self._batch_norm_qkv(self.qkv_transform(x))
        q, k, v = (part.unflatten(1, (HEADS, -1)) for part in qkv.split(self.depths, 1))
        similarity = [
            torch.einsum("bhdl,bhdm->bhlm", q, k),
            torch.einsum("bhdl,lmd->bhlm", q, self._query_rpe(length)),
            torch.einsum("bhdm,lmd->bhlm", k, self._key_rpe(length)),
        ]
        logits = self._batch_norm_similarity(torch.cat(similarity, 1)).unflatten(1, (3, HEADS)).sum(1)
        weights = logits.softmax(-1)
        content = torch.einsum("bhlm,bhdm->bhdl", weights, v)
        place = torch.einsum("bhlm,lmd->bhdl", weights, self._value_rpe(length))
        out = torch.cat((content, place), 1).flatten(1, 2)
        return self._batch_norm_retrieved_output(out).unflatten(1, (2, -1)).sum(1)


class AxialAttention2D(nn.Module):
    """Attention along the columns, then along the rows.

    Args:
        in_channels: Channels that come in.
        channels: Channels of queries and keys; twice as many go out.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self._height_axis = AxialAttention(in_channels, channels, 2 * channels)
        self._width_axis = AxialAttention(2 * channels, channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, 2 * channels, H, W]."""
        batch, _, height, width = x.shape
        columns = self._height_axis(x.permute(0, 3, 1, 2).flatten(0, 1)).unflatten(0, (batch, width))
        rows = self._width_axis(columns.permute(0, 3, 2, 1).flatten(0, 1)).unflatten(0, (batch, height))
        return rows.permute(0, 2, 1, 3)


class SingleBlock(nn.Module):
    """A residual block around axial attention or a 3x3 convolution.

    Args:
        in_channels: Channels that come in.
        channels: C, the base; four times as many go out.
        axial: Attention in place of the convolution.
        drop_path: Probability of dropping the branch.
    """

    def __init__(self, in_channels: int, channels: int, axial: bool, drop_path: float) -> None:
        super().__init__()
        self.axial = axial
        if axial:
            self._conv1_bn_act = ConvBN(in_channels, 2 * channels)
            self._attention = AxialAttention2D(2 * channels, channels)
        else:
            self._conv1_bn_act = ConvBN(in_channels, channels)
            self._conv2_bn_act = ConvBN(channels, channels, 3)
        inner, outer = (2 * channels if axial else channels), 4 * channels
        self._conv3_bn = ConvBN(inner, outer, act=None, norm_init=0.0)
        self._shortcut = None if in_channels == outer else ConvBN(in_channels, outer, act=None)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, 4 * channels, H, W]."""
        x = F.gelu(x)
        y = self._conv1_bn_act(x)
        y = F.gelu(self._attention(y)) if self.axial else self._conv2_bn_act(y)
        return self.drop_path(self._conv3_bn(y)) + (x if self._shortcut is None else self._shortcut(x))


class BlockGroup(nn.Module):
    """Blocks in a row; key ``_blocks``."""

    def __init__(self, in_channels: int, channels: int, depth: int, axial: bool, drop_path: float) -> None:
        super().__init__()
        self._blocks = nn.Sequential(
            *(SingleBlock(4 * channels if i else in_channels, channels, axial, drop_path) for i in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, 4 * channels, H, W]."""
        return self._blocks(x)


class ResizedFuse(nn.Module):
    """Sum of a coarse map and a fine one, at the fine one's size.

    Args:
        low: Channels of the coarse map.
        high: Channels of the fine one.
        out_channels: Channels of the sum; a map that has as many is taken as it is.
    """

    def __init__(self, low: int, high: int, out_channels: int) -> None:
        super().__init__()
        self._conv_bn_low = None if low == out_channels else ConvBN(low, out_channels, act=None)
        self._conv_bn_high = None if high == out_channels else ConvBN(high, out_channels, act=None)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Map [N, low, h, w] and [N, high, H, W] to [N, out_channels, H, W]."""
        if self._conv_bn_low is not None:
            low = self._conv_bn_low(F.gelu(low))
        low = enlarge(low, high.shape[2:])
        return low + (high if self._conv_bn_high is None else self._conv_bn_high(F.gelu(high)))


class KMaXPixelDecoder(nn.Module):
    """From a backbone's maps to those that queries cluster and the one that masks are made of.

    Args:
        in_channels: Channels of the backbone's maps, finest first, of strides 4 to 32.
        dec_layers: Blocks of each stage, coarsest first; so are the next two.
        dec_channels: Base of each stage's channels.
        layer_types: ``axial`` or ``bottleneck``.
        drop_path_prob: Of every block.

    Raises:
        ConfigError: If the numbers of maps and stages differ, or a type is unknown.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        dec_layers: Sequence[int] = (1, 5, 1, 1),
        dec_channels: Sequence[int] = (512, 256, 128, 64),
        layer_types: Sequence[str] = ("axial", "axial", "bottleneck", "bottleneck"),
        drop_path_prob: float = 0.0,
    ) -> None:
        super().__init__()
        if not len(in_channels) == len(dec_layers) == len(dec_channels) == len(layer_types):
            raise ConfigError(
                "KMaXPixelDecoder needs one of dec_layers, dec_channels and layer_types for each of the "
                f"{len(in_channels)} maps, got {dec_layers}, {dec_channels} and {layer_types}"
            )
        if not set(layer_types) <= {"axial", "bottleneck"}:
            raise ConfigError(f"KMaXPixelDecoder's layer_types are axial and bottleneck, got {layer_types}")
        given = list(in_channels)[::-1]
        self._in_norms = nn.ModuleList(LayerNorm2d(c) for c in given)
        self._stages = nn.ModuleList(
            BlockGroup(dec_channels[i] if i else given[0], dec_channels[i], depth, kind == "axial", drop_path_prob)
            for i, (depth, kind) in enumerate(zip(dec_layers, layer_types, strict=True))
        )
        self._resized_fuses = nn.ModuleList(
            ResizedFuse(4 * coarse, c, fine)
            for coarse, c, fine in zip(dec_channels[:-1], given[1:], dec_channels[1:], strict=True)
        )
        self.out_channels = tuple(4 * c for c in dec_channels)

    def forward(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Return one map [N, 4 * dec_channels[i], h, w] for each of ``feats``, coarsest first."""
        maps = [normalise(x) for normalise, x in zip(self._in_norms, feats[::-1], strict=True)]
        outs = [self._stages[0](maps[0])]
        for finer, fuse, stage in zip(maps[1:], self._resized_fuses, list(self._stages)[1:], strict=True):
            outs.append(stage(fuse(outs[-1], finer)))
        return outs
