"""MiT, the Mix Transformer of SegFormer (Xie et al., NeurIPS 2021, arXiv:2105.15203).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded up.
Official code and weights: https://github.com/NVlabs/SegFormer; NVIDIA has the same weights on Hugging Face. Arguments
and keys are those of https://github.com/open-mmlab/mmsegmentation, to which NVIDIA's names and those of Hugging Face
are converted. The two codes differ in one number, the epsilon of the norms that ``embed_norm_cfg`` is for: the names
mit_b0 to mit_b5 compute what NVIDIA's code computes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.catalog import StateDict, register_family
from foveal.backbones.contract import apply_train_mode, check_input, check_out_indices, drop_path_rates, run
from foveal.errors import ConfigError
from foveal.layers import DropPath
from foveal.registry import MODELS

Config = dict[str, Any]

_HEADS = (1, 2, 5, 8)
_OFFICIAL: Config = {"num_heads": _HEADS, "embed_norm_cfg": {"type": "LN", "eps": 1e-5}}

ARCHS: dict[str, dict[str, Any]] = {
    "b0": {"embed_dims": 32, "num_layers": (2, 2, 2, 2), **_OFFICIAL},
    "b1": {"embed_dims": 64, "num_layers": (2, 2, 2, 2), **_OFFICIAL},
    "b2": {"embed_dims": 64, "num_layers": (3, 4, 6, 3), **_OFFICIAL},
    "b3": {"embed_dims": 64, "num_layers": (3, 4, 18, 3), **_OFFICIAL},
    "b4": {"embed_dims": 64, "num_layers": (3, 8, 27, 3), **_OFFICIAL},
    "b5": {"embed_dims": 64, "num_layers": (3, 6, 40, 3), **_OFFICIAL},
}


class PatchEmbed(nn.Module):
    """Overlapping patches by a strided convolution, and a norm.

    Args:
        in_channels: Channels that come in.
        embed_dims: C.
        kernel_size: Of the convolution; it is padded by half of that.
        stride: Of the convolution.
        norm_cfg: The norm.
    """

    def __init__(self, in_channels: int, embed_dims: int, kernel_size: int, stride: int, norm_cfg: Config) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, embed_dims, kernel_size, stride, padding=kernel_size // 2)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, H / stride, W / stride, C]."""
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class EfficientMultiheadAttention(nn.Module):
    """Attention of every pixel to the pixels of a reduced map.

    Args:
        embed_dims: C.
        num_heads: Heads.
        attn_drop: Dropout of the attention weights.
        proj_drop: Dropout of the result.
        qkv_bias: Biases in the projections.
        norm_cfg: Norm of the reduced map.
        sr_ratio: Each side of the reduced map is this many times shorter, rounded down.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float,
        proj_drop: float,
        qkv_bias: bool,
        norm_cfg: Config,
        sr_ratio: int,
    ) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, attn_drop, bias=qkv_bias, batch_first=True)
        self.proj_drop = nn.Dropout(proj_drop)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, stride=sr_ratio)
            self.norm = build_norm_layer(norm_cfg, embed_dims)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        queries = values = x.flatten(1, 2)
        if self.sr_ratio > 1:
            values = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).flatten(1, 2)
        return self.proj_drop(self.attn(queries, values, values, need_weights=False)[0]).view(x.shape)


class MixFFN(nn.Module):
    """An MLP with a depthwise 3x3 convolution inside, which tells it where a pixel is.

    Args:
        embed_dims: C.
        feedforward_channels: Channels inside.
        act_cfg: Activation.
        ffn_drop: Dropout, inside and of the result.
    """

    def __init__(self, embed_dims: int, feedforward_channels: int, act_cfg: Config, ffn_drop: float) -> None:
        super().__init__()
        hidden, drop = feedforward_channels, nn.Dropout(ffn_drop)
        self.layers = nn.Sequential(
            nn.Conv2d(embed_dims, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            build_activation_layer(act_cfg),
            drop,
            nn.Conv2d(hidden, embed_dims, 1),
            drop,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        return self.layers(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class TransformerEncoderLayer(nn.Module):
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

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


@MODELS.register_module()
class MixVisionTransformer(BaseModule):
    """MiT as a backbone, with mmseg's arguments.

    Args:
        in_channels: Channels of the images.
        embed_dims: Channels of a head; a stage has ``embed_dims`` times its heads.
        num_stages: Stages.
        num_layers: Blocks of each stage.
        num_heads: Heads of each stage.
        patch_sizes: Kernel of each stage's patch embedding.
        strides: Of each stage's patch embedding.
        sr_ratios: Factor by which each stage shortens the sides of the map that it attends to.
        out_indices: Stages whose maps are returned, rising.
        mlp_ratio: Width inside the MLPs, in C.
        qkv_bias: Biases in the attentions' projections.
        drop_rate: Dropout of the branches.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        act_cfg: Activation of the MLPs.
        norm_cfg: Norms.
        embed_norm_cfg: Norms of the patch embeddings and of the maps that are attended to; None: as ``norm_cfg``, which
            is mmseg's. NVIDIA's code has an epsilon of 1e-5 there, and 1e-6 elsewhere.
        frozen_stages: -1 none, 0 the first patch embedding, n that and the first n stages: no gradient, eval mode.
        norm_eval: Taken for the sake of uniform configs; there is no batch normalisation here.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal, and He's for convolutions.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If a sequence is not one number a stage, or ``out_indices`` or ``frozen_stages`` names what is not
            there.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dims: int = 64,
        num_stages: int = 4,
        num_layers: Sequence[int] = (3, 4, 6, 3),
        num_heads: Sequence[int] = (1, 2, 4, 8),
        patch_sizes: Sequence[int] = (7, 3, 3, 3),
        strides: Sequence[int] = (4, 2, 2, 2),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        mlp_ratio: int = 4,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        act_cfg: Config = {"type": "GELU"},  # noqa: B006
        norm_cfg: Config = {"type": "LN", "eps": 1e-6},  # noqa: B006
        embed_norm_cfg: Config | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        stages = {"num_layers": num_layers, "num_heads": num_heads, "patch_sizes": patch_sizes}
        for name, numbers in {**stages, "strides": strides, "sr_ratios": sr_ratios}.items():
            if len(numbers) != num_stages:
                raise ConfigError(f"this MixVisionTransformer has {num_stages} stages, got {name}={tuple(numbers)}")
        dims = [embed_dims * heads for heads in num_heads]
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, num_stages, "MixVisionTransformer")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(math.prod(strides[: i + 1]) for i in self.out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        embed_norm_cfg = embed_norm_cfg or norm_cfg
        self.layers: Any = nn.ModuleList()  # of each stage: patch embedding, blocks, norm
        for i, rates in enumerate(drop_path_rates(drop_path_rate, num_layers)):
            dim = dims[i]
            embed = PatchEmbed(dims[i - 1] if i else in_channels, dim, patch_sizes[i], strides[i], embed_norm_cfg)
            blocks = nn.ModuleList()
            for rate in rates:
                attn = EfficientMultiheadAttention(
                    dim, num_heads[i], attn_drop_rate, drop_rate, qkv_bias, embed_norm_cfg, sr_ratios[i]
                )
                ffn = MixFFN(dim, mlp_ratio * dim, act_cfg, drop_rate)
                blocks.append(TransformerEncoderLayer(dim, attn, ffn, rate, norm_cfg))
            self.layers.append(nn.ModuleList([embed, blocks, build_norm_layer(norm_cfg, dim)[1]]))
        self.train()

    def init_weights(self) -> None:
        """Apply ``init_cfg``, or the official initialisation where there is none."""
        super().init_weights()
        for module in self.modules() if self.init_cfg is None else ():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=0.02)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "MixVisionTransformer")
        maps = []
        for i in range(self.out_indices[-1] + 1):
            embed, blocks, norm = self.layers[i]
            x = embed(x)
            for block in blocks:
                x = run(block, x, self.with_cp)
            x = norm(x).permute(0, 3, 1, 2)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> MixVisionTransformer:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts = [[self.layers[0][0]], list(self.layers[0])[1:], *([stage] for stage in list(self.layers)[1:])]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self

    def adapt_state_dict(self, state_dict: StateDict, prefix: str) -> None:
        """Take the encoder out of NVIDIA's SegFormer, or out of the copy of it in Hugging Face's names."""
        hub = any(key.startswith(_HUB) for key in state_dict)
        theirs = [key for key in state_dict if key.startswith(_HUB if hub else prefix)]
        encoder = {key if hub else key.removeprefix(prefix): state_dict.pop(key) for key in theirs}
        converted = convert_state_dict(encoder, {})
        state_dict.update({f"{prefix}{key}": value for key, value in converted.items()})

    def stage_of(self, name: str) -> tuple[int, int | None]:
        """Return the stage and block of a parameter, for layer-wise decay; a stage's norm is with its last block."""
        stage, part, inner = (int(word) if word.isdigit() else 0 for word in name.split(".")[1:4])
        return stage, (None, inner, len(self.layers[stage][1]) - 1)[part]


_PARTS = {"patch_embed": 0, "block": 1, "norm": 2}
_HUB = "segformer.encoder."
_FROM_HUB = (
    (r"^segformer\.encoder\.", ""),
    (r"^patch_embeddings\.(\d)\.layer_norm\.", r"patch_embed\1.norm."),
    (r"^patch_embeddings\.", "patch_embed"),
    (r"^block\.", "block"),
    (r"^layer_norm\.", "norm"),
    (r"\.layer_norm_(\d)\.", r".norm\1."),
    (r"\.attention\.self\.query\.", ".attn.q."),
    (r"\.attention\.self\.key\.", ".attn.kv."),
    (r"\.attention\.self\.(sr|layer_norm)\.", r".attn.\1."),
    (r"\.attn\.layer_norm\.", ".attn.norm."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
    (r"^classifier\.", "head."),
    (r"^(patch_embed|block|norm)(\d)\.", lambda part: f"{part[1]}{int(part[2]) + 1}."),
)
_FROM_NVIDIA = (
    (r"\.attn\.proj\.", ".attn.attn.out_proj."),
    (r"\.proj\.", ".projection."),
    (r"\.attn\.q\.", ".attn.attn.in_proj_"),
    (r"\.mlp\.fc1\.", ".ffn.layers.0."),
    (r"\.mlp\.dwconv\.dwconv\.", ".ffn.layers.1."),
    (r"\.mlp\.fc2\.", ".ffn.layers.4."),
    (r"^head\.", "fc."),
)


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Turn NVIDIA's names into mmseg's, queries, keys and values into one tensor, linear layers into convolutions.

    Files on Hugging Face, which NVIDIA published there, have other names for the same.
    """
    if f"{_HUB}patch_embeddings.0.proj.weight" in official:
        official = _nvidias_names(official)
    if "patch_embed1.proj.weight" not in official:
        return official
    converted = {}
    for key, value in official.items():
        others = official.get(key.replace(".attn.q.", ".attn.kv."))
        if ".attn.kv." in key:
            continue
        if ".attn.q." in key and others is not None:
            value = torch.cat((value, others))
        part = re.match(r"(patch_embed|block|norm)(\d)\.", key)
        if part:
            key = f"layers.{int(part[2]) - 1}.{_PARTS[part[1]]}.{key[part.end() :]}"
        for pattern, new in _FROM_NVIDIA:
            key = re.sub(pattern, new, key)
        converted[key] = value[:, :, None, None] if ".ffn." in key and value.ndim == 2 else value
    return converted


def _nvidias_names(hub: StateDict) -> StateDict:
    """Rename what has Hugging Face's names, without a segmentor's head; keys and values are one tensor."""
    renamed = {}
    for key, value in hub.items():
        if ".self.value." in key or key.startswith("decode_head."):
            continue
        if ".self.key." in key:
            value = torch.cat((value, hub[key.replace(".self.key.", ".self.value.")]))
        for pattern, new in _FROM_HUB:
            key = re.sub(pattern, new, key)
        renamed[key] = value
    return renamed


register_family(
    MixVisionTransformer,
    {f"mit_{arch}": numbers for arch, numbers in ARCHS.items()},
    trunk={"out_indices": (3,)},
    head={"type": "LinearClsHead"},
    tail_keys=r"fc\.",
    convert=convert_state_dict,
)
