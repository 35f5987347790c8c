"""FFNet's head: a plain top-down pyramid, all its maps stacked, two convolutions (Mehta et al., arXiv:2206.08236)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import DecodeHead
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS

# channels that the backbone's maps are brought to, and those of the pyramid's maps, finest first
UP_HEADS = {
    "A": ((64, 128, 256, 512), (128, 128, 128, 128)),
    "B": ((64, 128, 128, 256), (96, 96, 64, 32)),
    "C": ((128, 128, 128, 128), (128, 16, 16, 16)),
}
# channels inside, and side of the last kernel
SEGMENTATION_HEADS = {"A": (512, 1), "B": (256, 3), "C": (128, 1)}
STRIDES = (4, 8, 16, 32)
BN = {"type": "BN"}
NORMAL = {"type": "Normal", "layer": "Conv2d", "std": 0.01, "bias": 0.0001}


@MODELS.register_module()
class FFNetHead(DecodeHead):
    """FFNet's up head and segmentation head.

    The parts have the official names inside, ``fam_32_up`` and so on; files with the official whole network's names,
    ``head.layers.``, are read too.

    Args:
        in_channels: Channels of the backbone's four maps, finest first.
        up_head: ``A``, ``B`` or ``C``: the second letter of the official names.
        seg_head: ``A``, ``B`` or ``C``: the third.
        num_classes: K.
        in_index: Which four feature maps, finest first.
        up_mode: ``bilinear`` or, for the mobile networks, ``nearest``.
        options: The other arguments of `DecodeHead`, but ``channels``.

    Shape:
        four maps [N, in_channels[i], H_i, W_i] to logits [N, K, H_0, W_0].

    Raises:
        ConfigError: If there is no such head or mode.

    Source: ``ffnet_blocks.py`` of Qualcomm-AI-research/FFNet.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        up_head: str = "B",
        seg_head: str = "B",
        *,
        num_classes: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
        up_mode: str = "bilinear",
        dropout_ratio: float = 0.0,
        norm_cfg: dict[str, Any] = BN,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = NORMAL,
        **options: Any,
    ) -> None:
        if up_head not in UP_HEADS or seg_head not in SEGMENTATION_HEADS or up_mode not in ("bilinear", "nearest"):
            raise ConfigError(
                "FFNetHead has up_head and seg_head A, B or C and up_mode bilinear or nearest, "
                f"got {up_head!r}, {seg_head!r} and {up_mode!r}"
            )
        base, widths = UP_HEADS[up_head]
        inner, kernel = SEGMENTATION_HEADS[seg_head]
        super().__init__(
            in_channels,
            inner,
            num_classes=num_classes,
            in_index=in_index,
            input_transform="multiple_select",
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
            **options,
        )
        self.up_mode = up_mode
        self.adapter_conv = nn.ModuleList(
            ConvModule(c, width, 1, bias=False, **self.kinds) for c, width in zip(in_channels, base, strict=True)
        )
        for i, stride in enumerate(STRIDES):
            name = f"fam_{stride}_sm" if i else "fam_4"
            self.add_module(name, ConvModule(base[i], widths[i], 3, padding=1, bias=False, **self.kinds))
            if i:
                self.add_module(f"fam_{stride}_up", ConvModule(base[i], base[i - 1], 1, bias=False, **self.kinds))
        # a bias before the norm, as officially
        self.bottleneck = nn.Sequential(
            nn.Conv2d(sum(widths), inner, 3, padding=1), build_norm_layer(norm_cfg, inner)[1], nn.ReLU()
        )
        self.conv_seg = nn.Conv2d(inner, self.out_channels, kernel, padding=kernel // 2)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, h, w] at the size of the finest map of ``feats``."""
        maps = [adapt(x) for adapt, x in zip(self.adapter_conv, self.select(feats), strict=True)]
        x = maps[3]
        smooth = [self.fam_32_sm(x)]
        for finer, stride in zip(maps[2::-1], STRIDES[:0:-1], strict=True):
            x = self._enlarge(getattr(self, f"fam_{stride}_up")(x), finer.shape[2:]) + finer
            smooth.insert(0, getattr(self, f"fam_{stride // 2}_sm" if stride > 8 else "fam_4")(x))
        stacked = torch.cat([smooth[0], *(self._enlarge(x, smooth[0].shape[2:]) for x in smooth[1:])], 1)
        return self.cls_seg(self.bottleneck(stacked))

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take the head out of an official network."""

        def ours(name: str) -> str:
            number, name = name.split(".", 1)
            name = name.replace(".layers.0.", ".conv.").replace(".layers.1.", ".bn.")
            if number == "3":
                name = name.replace("last_layer.3.", "conv_seg.").replace("last_layer.", "bottleneck.")
            return name

        take_over(state_dict, "head.layers.", prefix, ours)

    def _enlarge(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return F.interpolate(
            x, tuple(size), mode=self.up_mode, align_corners=True if self.up_mode == "bilinear" else None
        )
