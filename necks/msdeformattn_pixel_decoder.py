"""Mask2Former's pixel decoder (Cheng et al., CVPR 2022, arXiv:2112.01527).

Source of keys and order: ``msdeformattn_pixel_decoder.py`` of open-mmlab/mmdetection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import caffe2_xavier_init
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.deformable_transformer import DeformableEncoder, Levels
from foveal.layers.positional_encoding import SinePositionalEncoding
from foveal.registry import MODELS

Options = dict[str, Any]

_GN = {"type": "GN", "num_groups": 32}
_RELU = {"type": "ReLU"}
_POSITIONS = {"num_feats": 128, "normalize": True}


@MODELS.register_module()
class MSDeformAttnPixelDecoder(nn.Module):
    """Deformable attention among the coarse maps, then a top-down pyramid over the fine ones.

    Keys are mmdet's: ``input_convs.i``, ``encoder.layers.i``, ``level_encoding``, ``lateral_convs.i``,
    ``output_convs.i``, ``mask_feature``.

    Args:
        in_channels: Channels of the maps that come in, finest first.
        strides: Taken for mmdet's configs; places are shares of the maps, whatever their strides.
        feat_channels: C, channels of the maps that go out.
        out_channels: M, channels of the mask features.
        num_outs: Maps that go out.
        norm_cfg: Norm of the convolutions, mmcv's config. None: none.
        act_cfg: Activation of the output convolutions.
        encoder: Arguments of `DeformableEncoder`; its ``num_levels`` coarsest maps attend to each other.
        positional_encoding: Arguments of `SinePositionalEncoding`.
        init_cfg: None; taken for mmdet's configs.

    Raises:
        ConfigError: If the encoder reads more levels than come in, or its channels are not ``feat_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        strides: Sequence[int] = (4, 8, 16, 32),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_outs: int = 3,
        norm_cfg: Options | None = _GN,
        act_cfg: Options | None = _RELU,
        *,
        encoder: Options,
        positional_encoding: Options = _POSITIONS,
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        self.num_levels: int = encoder["layer_cfg"]["self_attn_cfg"]["num_levels"]
        self.num_outs = num_outs
        if not 1 <= self.num_levels <= len(in_channels):
            raise ConfigError(
                f"MSDeformAttnPixelDecoder.encoder reads num_levels={self.num_levels} maps, "
                f"but in_channels has {len(in_channels)}"
            )
        self.encoder = DeformableEncoder(**encoder)
        self.positional_encoding = SinePositionalEncoding(**positional_encoding)
        widths = {"embed_dims": self.encoder.embed_dims, "2 * num_feats": 2 * self.positional_encoding.num_feats}
        for name, width in widths.items():
            if width != feat_channels:
                raise ConfigError(
                    f"MSDeformAttnPixelDecoder: {name} must be feat_channels {feat_channels}, got {width}"
                )
        coarse, fine = in_channels[-self.num_levels :], in_channels[: -self.num_levels]
        shared: Options = {"norm_cfg": norm_cfg, "inplace": False}
        self.input_convs = nn.ModuleList(
            ConvModule(channels, feat_channels, 1, bias=True, act_cfg=None, **shared) for channels in reversed(coarse)
        )
        self.level_encoding = nn.Embedding(self.num_levels, feat_channels)
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, feat_channels, 1, act_cfg=None, **shared) for channels in reversed(fine)
        )
        self.output_convs = nn.ModuleList(
            ConvModule(feat_channels, feat_channels, 3, padding=1, act_cfg=act_cfg, **shared) for _ in fine
        )
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, 1)
        self._init()

    def _init(self) -> None:
        for module in self.input_convs:
            conv: Any = module.conv
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)
        for conv in (*(x.conv for x in (*self.lateral_convs, *self.output_convs)), self.mask_feature):
            caffe2_xavier_init(conv)
        for matrix in (p for p in self.encoder.parameters() if p.dim() > 1):
            nn.init.xavier_normal_(matrix)
        for layer in self.encoder.layers:
            attention: Any = layer.self_attn
            attention.init_weights()

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the mask features and the maps for the transformer decoder.

        Args:
            feats: [N, in_channels[i], H_i, W_i] each, finest first.

        Returns:
            [N, M, H_0, W_0], and ``num_outs`` maps [N, C, h, w], coarsest first.
        """
        maps = [conv(x) for conv, x in zip(self.input_convs, reversed(feats), strict=False)]
        positions = []
        for x, level in zip(maps, self.level_encoding.weight, strict=True):
            nowhere = torch.zeros(x.shape[0], *x.shape[-2:], dtype=torch.bool, device=x.device)
            positions.append(self.positional_encoding(nowhere, x.dtype).flatten(2).mT + level)
        levels = Levels.of(maps)
        pixels = torch.cat([x.flatten(2).mT for x in maps], dim=1)
        memory = self.encoder(pixels, torch.cat(positions, dim=1), None, levels)
        parts = memory.mT.split([h * w for h, w in levels.sizes], dim=-1)
        outs = [part.unflatten(-1, size) for part, size in zip(parts, levels.sizes, strict=True)]
        fine = reversed(feats[: -self.num_levels])
        for lateral, output, x in zip(self.lateral_convs, self.output_convs, fine, strict=True):
            here = lateral(x)
            above = F.interpolate(outs[-1], here.shape[-2:], mode="bilinear", align_corners=False)
            outs.append(output(here + above))
        return self.mask_feature(outs[-1]), outs[: self.num_outs]
