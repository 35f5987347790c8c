"""Swin Transformer (Liu et al., ICCV 2021, arXiv:2103.14030).

Features: [N, 3, H, W] to [N, C, H/4, W/4], [N, 2C, H/8, W/8], [N, 4C, H/16, W/16], [N, 8C, H/32, W/32], rounded up.
Official code and weights: https://github.com/microsoft/Swin-Transformer. Arguments and keys are those of
https://github.com/open-mmlab/mmdetection, to which the official ones, and timm's, are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import register_family
from foveal.backbones.contract import apply_train_mode, check_input, check_out_indices, drop_path_rates, run
from foveal.backbones.swin_files import convert_state_dict, rename
from foveal.errors import ConfigError
from foveal.layers import DropPath
from foveal.registry import MODELS

Config = dict[str, Any]

ARCHS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dims": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "window_size": 7},
    "small": {"embed_dims": 96, "depths": (2, 2, 18, 2), "num_heads": (3, 6, 12, 24), "window_size": 7},
    "base": {"embed_dims": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32), "window_size": 7},
    "base_window12": {"embed_dims": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32), "window_size": 12},
    "large": {"embed_dims": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48), "window_size": 7},
    "large_window12": {"embed_dims": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48), "window_size": 12},
}


class WindowMSA(nn.Module):
    """Attention within windows, with a learnt bias for every offset between two pixels.

    Args:
        embed_dims: C.
        num_heads: Heads.
        window_size: Side of a window, w.
        qkv_bias: Biases in the projection to queries, keys and values.
        qk_scale: Factor of the scores; None: one over the root of a head's channels.
        attn_drop_rate: Dropout of the attention weights.
        proj_drop_rate: Dropout of the result.
    """

    relative_position_index: Tensor

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        qkv_bias: bool,
        qk_scale: float | None,
        attn_drop_rate: float,
        proj_drop_rate: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = qk_scale
        self.attn_drop_rate = attn_drop_rate
        offsets = 2 * window_size - 1  # from one pixel of a window to another, along one axis
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets**2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        place = torch.arange(window_size)
        offset = place[:, None] - place + window_size - 1  # (w, w)
        index = offset[:, None, :, None] * offsets + offset[None, :, None, :]  # (w, w, w, w): y, x to y, x
        self.register_buffer("relative_position_index", index.reshape(window_size**2, window_size**2))
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map the windows of N images to the same shape.

        Args:
            x: [N, windows, w * w, C].
            mask: [windows, w * w, w * w], added to the scores; None: nothing is.
        """
        n, windows, length, channels = x.shape
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(length, length, -1).permute(2, 0, 1).contiguous()  # fused kernels want rows in one piece
        groups, heads = n * windows, self.num_heads
        qkv = self.qkv(x).view(groups, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        if mask is not None:  # every window has its own scores to add: count it as heads, so that images share them
            bias = (bias + mask[:, None]).flatten(0, 1)
            qkv = qkv.reshape(3, n, windows * heads, length, -1)
        dropout = self.attn_drop_rate if self.training else 0.0
        query, key, value = qkv.unbind(0)
        y = F.scaled_dot_product_attention(
            query, key, value, bias[None].to(query.dtype), dropout_p=dropout, scale=self.scale
        )
        y = y.reshape(n, windows, heads, length, -1).transpose(2, 3).reshape(n, windows, length, channels)
        return self.proj_drop(self.proj(y))


class ShiftWindowMSA(nn.Module):
    """`WindowMSA` on a map that is padded to whole windows, and shifted by half a window in every second block.

    Args:
        embed_dims: C.
        num_heads: Heads.
        window_size: Side of a window.
        shift_size: Pixels by which the windows are shifted.
        qkv_bias: As `WindowMSA`.
        qk_scale: As `WindowMSA`.
        attn_drop_rate: As `WindowMSA`.
        proj_drop_rate: As `WindowMSA`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        shift_size: int,
        qkv_bias: bool,
        qk_scale: float | None,
        attn_drop_rate: float,
        proj_drop_rate: float,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift_size = shift_size
        self.w_msa = WindowMSA(embed_dims, num_heads, window_size, qkv_bias, qk_scale, attn_drop_rate, proj_drop_rate)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map [N, H, W, C] to the same shape; ``mask`` is `shift_mask`'s, None where nothing is shifted."""
        n, height, width, channels = x.shape
        side, shift = self.window_size, self.shift_size if mask is not None else 0
        below, right = -height % side, -width % side
        if below or right:
            x = F.pad(x, (0, 0, 0, right, 0, below))
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        rows, columns = (height + below) // side, (width + right) // side
        x = x.view(n, rows, side, columns, side, channels).transpose(2, 3)
        x = self.w_msa(x.reshape(n, rows * columns, side * side, channels), mask if shift else None)
        x = x.view(n, rows, columns, side, side, channels).transpose(2, 3)
        x = x.reshape(n, rows * side, columns * side, channels)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width] if below or right else x


class FFN(nn.Module):
    """Two linear layers with an activation between.

    Args:
        embed_dims: C.
        feedforward_channels: Channels between.
        act_cfg: The activation.
        ffn_drop: Dropout, between and of the result.
    """

    def __init__(self, embed_dims: int, feedforward_channels: int, act_cfg: Config, ffn_drop: float) -> None:
        super().__init__()
        first = nn.Linear(embed_dims, feedforward_channels)
        self.layers = nn.Sequential(
            nn.Sequential(first, build_activation_layer(act_cfg), nn.Dropout(ffn_drop)),
            nn.Linear(feedforward_channels, embed_dims),
            nn.Dropout(ffn_drop),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map […, C] to the same shape."""
        return self.layers(x)


class SwinBlock(nn.Module):
    """Attention and MLP, each behind a norm on a residual path.

    Args:
        embed_dims: C.
        attn: The attention.
        ffn: The MLP.
        drop_path: Probability of dropping a branch.
        norm_cfg: The norms.
    """

    def __init__(self, embed_dims: int, attn: nn.Module, ffn: nn.Module, drop_path: float, norm_cfg: Config) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = attn
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = ffn
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map [N, H, W, C] to the same shape; ``mask`` is `shift_mask`'s."""
        x = x + self.drop_path(self.attn(self.norm1(x), mask))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Patches by a strided convolution, of an image that is padded to whole ones below and on the right.

    Args:
        in_channels: Channels of the images.
        embed_dims: C.
        patch_size: Side of a patch.
        norm_cfg: Norm of the patches; None: none.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int, norm_cfg: Config | None) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1] if norm_cfg else nn.Identity()
        self.patch_size = patch_size

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, H / patch_size, W / patch_size, C], rounded up."""
        below, right = -x.shape[2] % self.patch_size, -x.shape[3] % self.patch_size
        x = F.pad(x, (0, right, 0, below)) if below or right else x
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Two by two pixels to one; an odd map is padded with zeros below and on the right.

    Args:
        in_channels: C.
        norm_cfg: Norm of the 4 C channels of four pixels, those of one channel side by side; None: none.
    """

    def __init__(self, in_channels: int, norm_cfg: Config | None) -> None:
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, 4 * in_channels)[1] if norm_cfg else nn.Identity()
        self.reduction = nn.Linear(4 * in_channels, 2 * in_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to [N, H / 2, W / 2, 2 C], rounded up."""
        n, height, width, channels = x.shape
        below, right = height % 2, width % 2
        x = F.pad(x, (0, 0, 0, right, 0, below)) if below or right else x
        rows, columns = (height + below) // 2, (width + right) // 2
        x = x.view(n, rows, 2, columns, 2, channels).permute(0, 1, 3, 5, 2, 4)
        return self.reduction(self.norm(x.reshape(n, rows, columns, 4 * channels)))


class SwinBlockSequence(nn.Module):
    """One stage.

    Args:
        blocks: The blocks, every second one shifted.
        downsample: What halves the stage's map for the next; None for the last stage.
    """

    def __init__(self, blocks: list[SwinBlock], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class SwinTransformer(BaseModule):
    """Swin as a backbone, with mmdet's arguments.

    Args:
        pretrain_img_size: Pixels of a side, or both, of the images that the absolute position embedding is for.
        in_channels: Channels of the images.
        embed_dims: Channels of the first stage; each stage has twice those of the one before.
        patch_size: Side of a patch.
        window_size: Side of a window.
        mlp_ratio: Width inside the MLPs, in C.
        depths: Blocks of each stage.
        num_heads: Heads of each stage.
        strides: Of the patch embedding, which is ``patch_size``, and of each merging, 2.
        out_indices: Stages whose maps are returned, rising.
        qkv_bias: Biases in the projection to queries, keys and values.
        qk_scale: Factor of the attention's scores; None: one over the root of a head's channels.
        patch_norm: Norms in the patch embedding and in the mergings.
        drop_rate: Dropout of the patches and of the branches.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        use_abs_pos_embed: Add a learnt embedding of its position to every patch, resized to the image.
        act_cfg: Activation of the MLPs.
        norm_cfg: Norms.
        output_norm: A norm on every map that is returned. The classification trunk has none.
        shift_small_maps: Shift the windows also where a side of the map is no longer than a window, as mmdet and the
            official detectors do. The official classification network does not.
        frozen_stages: -1 none, 0 the patch embedding, n that and the first n stages: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        convert_weights: mmdet's configs say it; official files are recognised without it.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If a sequence is not one number a stage, a stride is another, or ``out_indices`` or
            ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        pretrain_img_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        embed_dims: int = 96,
        patch_size: int = 4,
        window_size: int = 7,
        mlp_ratio: int = 4,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: Config = {"type": "GELU"},  # noqa: B006
        norm_cfg: Config = {"type": "LN"},  # noqa: B006
        output_norm: bool = True,
        shift_small_maps: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        convert_weights: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02, "bias": 0.0})
        _check(depths, num_heads, strides, patch_size)
        dims = [embed_dims * 2**i for i in range(len(depths))]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(depths), "SwinTransformer")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(patch_size * 2**i for i in self.out_indices)
        self.window_size = window_size
        self.output_norm = output_norm
        self.shift_small_maps = shift_small_maps
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        inner_norm = norm_cfg if patch_norm else None
        self.patch_embed = PatchEmbed(in_channels, embed_dims, patch_size, inner_norm)
        self.absolute_pos_embed = None
        if use_abs_pos_embed:
            size = (pretrain_img_size,) * 2 if isinstance(pretrain_img_size, int) else tuple(pretrain_img_size)
            self.patches = (size[0] // patch_size, size[1] // patch_size)
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.patches[0] * self.patches[1], embed_dims))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.drop_after_pos = nn.Dropout(drop_rate)
        self.stages: Any = nn.ModuleList()
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            blocks = []
            for j, rate in enumerate(rates):
                shift = window_size // 2 if j % 2 else 0
                options = (qkv_bias, qk_scale, attn_drop_rate, drop_rate)
                attn = ShiftWindowMSA(dims[i], num_heads[i], window_size, shift, *options)
                ffn = FFN(dims[i], mlp_ratio * dims[i], act_cfg, drop_rate)
                blocks.append(SwinBlock(dims[i], attn, ffn, rate, norm_cfg))
            last = i == len(depths) - 1
            self.stages.append(SwinBlockSequence(blocks, None if last else PatchMerging(dims[i], inner_norm)))
        for i in self.out_indices if output_norm else ():
            self.add_module(f"norm{i}", build_norm_layer(norm_cfg, dims[i])[1])
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "SwinTransformer")
        x = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            x = x + self._positions(x.shape[1], x.shape[2])
        x = self.drop_after_pos(x)
        maps = []
        for i in range(self.out_indices[-1] + 1):
            stage = self.stages[i]
            mask = None
            if self.shift_small_maps or min(x.shape[1:3]) > self.window_size:
                mask = shift_mask(x, self.window_size)
            for block in stage.blocks:
                x = run(partial(block, mask=mask), x, self.with_cp)
            if i in self.out_indices:
                y = getattr(self, f"norm{i}")(x) if self.output_norm else x
                maps.append(y.permute(0, 3, 1, 2))
            if i < self.out_indices[-1]:
                x = stage.downsample(x)
        return tuple(maps)

    def _positions(self, height: int, width: int) -> Tensor:
        """The position embedding for a map of this size, [1, height, width, C]."""
        embedding: Any = self.absolute_pos_embed
        embedding = embedding.unflatten(1, self.patches)
        if self.patches == (height, width):
            return embedding
        resized = F.interpolate(embedding.permute(0, 3, 1, 2), (height, width), mode="bicubic", align_corners=False)
        return resized.permute(0, 2, 3, 1)

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Rename a part of another network that has the official names."""
        if f"{prefix}layers.0.blocks.0.attn.qkv.weight" in state_dict:
            own = [key for key in state_dict if key.startswith(prefix)]
            official = {key.removeprefix(prefix): state_dict.pop(key) for key in own}
            state_dict.update({f"{prefix}{key}": value for key, value in rename(official).items()})

    def train(self, mode: bool = True) -> SwinTransformer:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts: list[list[nn.Module]] = [[self.patch_embed, self.drop_after_pos]]
        for i, stage in enumerate(self.stages):
            parts.append([stage, getattr(self, f"norm{i}")] if hasattr(self, f"norm{i}") else [stage])
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        if self.absolute_pos_embed is not None and self.frozen_stages >= 0:
            self.absolute_pos_embed.requires_grad_(False)
        return self


def shift_mask(x: Tensor, window_size: int) -> Tensor:
    """Return what keeps pixels apart that a shift by half a window has brought from opposite ends into one window.

    Args:
        x: The map, [N, H, W, C].
        window_size: Side of a window, w.

    Returns:
        [windows, w * w, w * w] of 0 and, between such pixels, -100.
    """
    bands = []
    for size in x.shape[1:3]:
        padded = size + -size % window_size
        place = torch.arange(padded, device=x.device)
        bands.append((place >= padded - window_size).int() + (place >= padded - window_size // 2))
    region = 3 * bands[0][:, None] + bands[1]
    region = region.unflatten(0, (-1, window_size)).unflatten(2, (-1, window_size))
    region = region.transpose(1, 2).reshape(-1, window_size**2)
    return (region[:, :, None] != region[:, None]).to(x.dtype) * -100.0


def _check(depths: Sequence[int], num_heads: Sequence[int], strides: Sequence[int], patch_size: int) -> None:
    if len(num_heads) != len(depths):
        raise ConfigError(f"SwinTransformer needs the heads of {len(depths)} stages, got num_heads={tuple(num_heads)}")
    only = (patch_size, *(2 for _ in depths[1:]))
    if tuple(strides) != only:
        raise ConfigError(f"this SwinTransformer can only have strides={only}, got {tuple(strides)}")


@MODELS.register_module()
class SwinTail(nn.Module):
    """What follows the trunk in the official classification network: a norm, the mean over pixels, a linear layer.

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
    SwinTransformer,
    {f"swin_{arch}": numbers for arch, numbers in ARCHS.items()},
    trunk={"out_indices": (3,), "output_norm": False, "shift_small_maps": False},
    head={"type": "ClsHead", "tail": {"type": "SwinTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
    convert=convert_state_dict,
)
