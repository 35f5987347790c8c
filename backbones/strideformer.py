"""StrideFormer, the backbone of PP-MobileSeg (Tang et al., 2023, arXiv:2304.05152).

Features: [N, 3, H, W] to one map [N, out_channels, H/8, W/8] (``AAMSx8``) or half as large (``AAM``): the aggregated
attention module has joined the stages. Arguments and keys are those of
https://github.com/open-mmlab/mmsegmentation, ``projects/pp_mobileseg``; first published in PaddlePaddle/PaddleSeg.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.contract import apply_train_mode, check_input, check_out_indices, round_channels, run
from foveal.errors import ConfigError
from foveal.layers import DropPath
from foveal.registry import MODELS

Config = dict[str, Any]

_BN: Config = {"type": "BN"}
_POSITIONS = 16


class SEModule(nn.Module):
    """Squeeze-and-excitation with a steep, piecewise linear gate.

    Args:
        channels: C; a quarter of them inside.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_act1 = ConvModule(channels, channels // 4, 1, act_cfg={"type": "ReLU"})
        self.conv_act2 = ConvModule(channels // 4, channels, 1, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        gate = self.conv_act2(self.conv_act1(x.mean((-2, -1), keepdim=True)))
        return x * (0.2 * gate + 0.5).clamp(0, 1)  # Paddle's hardsigmoid, not torch's


class ResidualUnit(nn.Module):
    """MobileNetV3's inverted residual, whose first convolution is always there.

    Args:
        in_channels: Channels that come in.
        inner: Channels of the depthwise convolution.
        out_channels: Channels that go out.
        kernel_size: Of the depthwise convolution.
        stride: Of the depthwise convolution.
        squeeze: With squeeze-and-excitation.
        act: Kind of activation.
    """

    def __init__(
        self, in_channels: int, inner: int, out_channels: int, kernel_size: int, stride: int, squeeze: bool, act: str
    ) -> None:
        super().__init__()
        kinds: Config = {"norm_cfg": _BN, "act_cfg": {"type": act}}
        self.residual = stride == 1 and in_channels == out_channels
        self.expand_conv = ConvModule(in_channels, inner, 1, **kinds)
        self.bottleneck_conv = ConvModule(
            inner, inner, kernel_size, stride, padding=kernel_size // 2, groups=inner, **kinds
        )
        self.mid_se = SEModule(inner) if squeeze else None
        self.linear_conv = ConvModule(inner, out_channels, 1, norm_cfg=_BN, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, H, W] to [N, out_channels, H / stride, W / stride], rounded up."""
        y = self.bottleneck_conv(self.expand_conv(x))
        if self.mid_se is not None:
            y = self.mid_se(y)
        y = self.linear_conv(y)
        return x + y if self.residual else y


class StackedMV3Block(nn.Module):
    """One stage of units; the first stage has the stem in front.

    Args:
        rows: Of each unit: kernel, inner channels, channels, squeeze-and-excitation, activation, stride.
        in_channels: Channels that come in, behind the stem.
        image_channels: Channels of the image, for the stem. None: no stem.
    """

    def __init__(self, rows: Sequence[Sequence[Any]], in_channels: int, image_channels: int | None) -> None:
        super().__init__()
        width = round_channels(in_channels)
        self.conv = None
        if image_channels is not None:
            self.conv = ConvModule(
                image_channels, width, 3, stride=2, padding=1, norm_cfg=_BN, act_cfg={"type": "HSwish"}
            )
        self.blocks = nn.ModuleList()
        for kernel, inner, channels, squeeze, act, stride in rows:
            out = round_channels(channels)
            self.blocks.append(ResidualUnit(width, round_channels(inner), out, kernel, stride, squeeze, act))
            width = out
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the stage's map."""
        if self.conv is not None:
            x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return x


class AxialPositions(nn.Module):
    """A learnt vector at each of 16 places along an axis, stretched to the axis' length.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, dim, _POSITIONS))

    def forward(self, x: Tensor) -> Tensor:
        """Add them to [N, C, L]."""
        return x + F.interpolate(self.pos_embed, x.shape[-1], mode="linear", align_corners=False)


class SeaAttention(nn.Module):
    """Squeeze-enhanced axial attention (SeaFormer, arXiv:2301.13156) of a map that is first halved.

    Rows and columns, each averaged to one vector a place, attend to each other; a convolution keeps the detail.

    Args:
        dim: C.
        key_dim: Of a head.
        num_heads: Heads.
        attn_ratio: Of a head's values to its keys.
        act_cfg: Activation.
        stride_attention: Halve the map first.
    """

    def __init__(
        self, dim: int, key_dim: int, num_heads: int, attn_ratio: float, act_cfg: Config, stride_attention: bool
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = key_dim**-0.5
        keys, values = key_dim * num_heads, int(attn_ratio * key_dim) * num_heads
        plain: Config = {"bias": False, "norm_cfg": _BN, "act_cfg": None}
        before: Config = {"bias": False, "norm_cfg": _BN, "act_cfg": act_cfg, "order": ("act", "conv", "norm")}
        # an activation in front must not overwrite what other paths read
        before["inplace"] = False
        self.to_q = ConvModule(dim, keys, 1, **plain)
        self.to_k = ConvModule(dim, keys, 1, **plain)
        self.to_v = ConvModule(dim, values, 1, **plain)
        self.stride_conv = None
        if stride_attention:
            self.stride_conv = ConvModule(
                dim, dim, 3, stride=2, padding=1, groups=dim, bias=True, norm_cfg=_BN, act_cfg=None
            )
        self.proj = ConvModule(values, dim, 1, **before)
        self.proj_encode_row = ConvModule(values, values, 1, **before)
        self.pos_emb_rowq = AxialPositions(keys)
        self.pos_emb_rowk = AxialPositions(keys)
        self.proj_encode_column = ConvModule(values, values, 1, **before)
        self.pos_emb_columnq = AxialPositions(keys)
        self.pos_emb_columnk = AxialPositions(keys)
        wide = 2 * values
        self.dwconv = ConvModule(wide, wide, 3, padding=1, groups=wide, bias=False, norm_cfg=_BN, act_cfg=act_cfg)
        self.pwconv = ConvModule(wide, dim, 1, **plain)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        size = x.shape[-2:]
        if self.stride_conv is not None:
            x = self.stride_conv(x)
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        detail = self.pwconv(self.dwconv(torch.cat((q, k, v), dim=1)))
        rows = self._axis(self.pos_emb_rowq(q.mean(-1)), self.pos_emb_rowk(k.mean(-1)), v.mean(-1))
        columns = self._axis(self.pos_emb_columnq(q.mean(-2)), self.pos_emb_columnk(k.mean(-2)), v.mean(-2))
        wide = v + self.proj_encode_row(rows[..., None]) + self.proj_encode_column(columns[..., None, :])
        y = F.hardsigmoid(self.proj(wide)) * detail
        if self.stride_conv is None:
            return y
        return F.interpolate(y, size, mode="bilinear", align_corners=False)

    def _axis(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention along one axis: [N, heads · d, L] each, to the values' shape."""
        q, k, values = (x.unflatten(1, (self.num_heads, -1)).transpose(-2, -1) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, values, scale=self.scale)
        return y.transpose(-2, -1).flatten(1, 2)


class MLP(nn.Module):
    """Two pointwise convolutions with a depthwise 3x3 between.

    Args:
        dim: C.
        hidden: Channels inside.
        act_cfg: Activation.
    """

    def __init__(self, dim: int, hidden: int, act_cfg: Config) -> None:
        super().__init__()
        self.fc1 = ConvModule(dim, hidden, 1, bias=False, norm_cfg=_BN, act_cfg=None)
        self.dwconv = ConvModule(hidden, hidden, 3, padding=1, groups=hidden, act_cfg=act_cfg)
        self.fc2 = ConvModule(hidden, dim, 1, bias=False, norm_cfg=_BN, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.fc2(self.dwconv(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP on residual paths.

    Args:
        attn: The attention.
        mlp: The MLP.
        drop_path: Probability of dropping a branch.
    """

    def __init__(self, attn: nn.Module, mlp: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.attn = attn
        self.drop_path = DropPath(drop_path)
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = x + self.drop_path(self.attn(x))
        return x + self.drop_path(self.mlp(x))


class BasicLayer(nn.Module):
    """Blocks in a row, under the key ``transformer_blocks``.

    Args:
        blocks: The blocks.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, with_cp: bool) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        for block in self.transformer_blocks:
            x = run(block, x, with_cp)
        return x


class AggregatedAttention(nn.Module):
    """Join a fine map and two coarse ones: the fine ones are gated by all, the coarsest is added.

    Args:
        in_channels: Of the three maps, finest first.
        out_channels: Channels that go out.
        at_eighth: Work at the finest map's size, where the second map only gates (``AAMSx8``). False: at half of it.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, at_eighth: bool) -> None:
        super().__init__()
        self.at_eighth = at_eighth
        sums = [c for i, c in enumerate(in_channels) if not at_eighth or i != 1]
        gates = [c for i, c in enumerate(in_channels) if not at_eighth or i != 0]
        plain: Config = {"bias": False, "norm_cfg": _BN}
        self.embedding_list = nn.ModuleList(ConvModule(c, out_channels, 1, act_cfg=None, **plain) for c in sums)
        self.act_embedding_list = nn.ModuleList(
            ConvModule(c, out_channels, 1, act_cfg={"type": "Sigmoid"}, **plain) for c in gates
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return one map [N, out_channels, h, w] of three [N, C_i, h_i, w_i]."""
        fine, middle, coarse = maps
        if not self.at_eighth:
            fine = F.interpolate(fine, scale_factor=0.5, mode="bilinear", align_corners=False)
        size = fine.shape[-2:]
        middle = F.interpolate(middle, size, mode="bilinear", align_corners=False)
        *gates, last = (
            gate(x) for gate, x in zip(self.act_embedding_list, (fine, middle, coarse)[self.at_eighth :], strict=True)
        )
        gate = F.interpolate(last, size, mode="bilinear", align_corners=False)
        for each in gates:
            gate = gate * each
        taken = (fine, coarse) if self.at_eighth else (fine, middle, coarse)
        *sums, top = (embed(x) for embed, x in zip(self.embedding_list, taken, strict=True))
        return gate * sum(sums) + F.interpolate(top, size, mode="bilinear", align_corners=False)


@MODELS.register_module()
class StrideFormer(BaseModule):
    """StrideFormer with mmseg's arguments.

    Args:
        mobileV3_cfg: Of each stage, of each unit: kernel, inner channels, channels, squeeze-and-excitation, activation,
            stride.
        channels: That come into each stage.
        embed_dims: Channels of the stages that have attention, the last ones.
        key_dims: Of a head, of each of them.
        depths: Blocks of each of them.
        num_heads: Heads.
        attn_ratios: Of a head's values to its keys.
        mlp_ratios: Width inside the MLPs, in C, of each of them.
        drop_path_rate: Of the last block of each stage; the blocks before it have less, evenly.
        act_cfg: Activation of the attention blocks.
        inj_type: ``AAMSx8`` (base) or ``AAM`` (tiny): the aggregated attention module works at an eighth of the image's
            sides or at a sixteenth.
        out_channels: Channels of the map that is returned.
        out_feat_chs: Channels of the three maps that are joined. None: those of the stages.
        stride_attention: Attend in maps of half the size.
        in_channels: Channels of the images.
        out_indices: There is one map: must be (0,).
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is Kaiming for convolutions and 1 for norms.

    Attributes:
        out_channels: Channels of the map that is returned.
        out_strides: Pixels of the image to one of the map.

    Raises:
        ConfigError: If ``inj_type`` is another word, or ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        mobileV3_cfg: Sequence[Sequence[Sequence[Any]]],
        channels: Sequence[int],
        embed_dims: Sequence[int],
        key_dims: Sequence[int] = (16, 24),
        depths: Sequence[int] = (2, 2),
        num_heads: int = 8,
        attn_ratios: float = 2,
        mlp_ratios: Sequence[float] = (2, 4),
        drop_path_rate: float = 0.1,
        act_cfg: Config = {"type": "ReLU"},  # noqa: B006
        inj_type: str = "AAM",
        out_channels: int = 256,
        out_feat_chs: Sequence[int] | None = None,
        stride_attention: bool = True,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        kaiming: list[Config] = [
            {"type": "Kaiming", "layer": "Conv2d"},
            {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
        ]
        super().__init__(init_cfg or kaiming)
        if inj_type not in ("AAM", "AAMSx8"):
            raise ConfigError(f"StrideFormer.inj_type must be AAM or AAMSx8, got {inj_type!r}")
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, 1, "StrideFormer")
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.count = len(mobileV3_cfg)
        self.first_attention = self.count - len(depths)
        for i, rows in enumerate(mobileV3_cfg):
            self.add_module(f"smb{i + 1}", StackedMV3Block(rows, channels[i], None if i else in_channels))
        for i, depth in enumerate(depths):
            dim = embed_dims[i]
            blocks = []
            for rate in torch.linspace(0, drop_path_rate, depth, device="cpu").tolist():
                attn = SeaAttention(dim, key_dims[i], num_heads, attn_ratios, act_cfg, stride_attention)
                blocks.append(Block(attn, MLP(dim, int(dim * mlp_ratios[i]), act_cfg), rate))
            self.add_module(f"trans{i + 1}", BasicLayer(blocks))
        widths = out_feat_chs or [getattr(self, f"smb{i + 1}").out_channels for i in range(1, self.count)]
        self.inj_module = AggregatedAttention(widths, out_channels, inj_type == "AAMSx8")
        self.out_channels = (out_channels,)
        self.out_strides = (8,) if inj_type == "AAMSx8" else (16,)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to one map [N, out_channels, H/8, W/8], or half as large for ``AAM``."""
        check_input(x, self.in_channels, "StrideFormer")
        maps = []
        for i in range(self.count):
            x = run(getattr(self, f"smb{i + 1}"), x, self.with_cp)
            if i == 1:
                maps.append(x)
            if i >= self.first_attention:
                x = getattr(self, f"trans{i - self.first_attention + 1}")(x, self.with_cp)
                maps.append(x)
        return (self.inj_module(maps),)

    def train(self, mode: bool = True) -> StrideFormer:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        first: Any = self.smb1
        parts: list[list[nn.Module]] = [[first.conv], [first.blocks]]
        for i in range(1, self.count):
            attention = [f"trans{i - self.first_attention + 1}"] if i >= self.first_attention else []
            parts.append([getattr(self, name) for name in (f"smb{i + 1}", *attention)])
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self
