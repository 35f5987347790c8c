"""PPMobileSegHead: the classifier of PP-MobileSeg (Tang et al., 2023, arXiv:2304.05152)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import DecodeHead, resize
from foveal.registry import MODELS


@MODELS.register_module()
class PPMobileSegHead(DecodeHead):
    """A pointwise convolution of one map and a classifier.

    Args:
        in_channels: Of the map.
        num_classes: K.
        use_dw: The first convolution weighs every channel by itself.
        upsample: ``intepolate`` (so spelt) enlarges all classes; ``vim``, the valid interpolate module, only those that
            win somewhere in the small map, which gives nearly the same labels in less time.
        options: The other arguments of `DecodeHead`.

    Shape:
        one map [N, in_channels, h, w] to logits [N, K, h, w].

    Raises:
        ConfigError: If ``upsample`` is another word.

    Source: ``projects/pp_mobileseg`` of open-mmlab/mmsegmentation; ``pp_mobileseg.py`` of PaddlePaddle/PaddleSeg.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        use_dw: bool = True,
        upsample: str = "intepolate",
        **options: Any,
    ) -> None:
        options = {"norm_cfg": {"type": "BN"}, **options}
        super().__init__(in_channels, in_channels, num_classes=num_classes, **options)
        if upsample not in ("intepolate", "vim"):
            raise ConfigError(f"PPMobileSegHead.upsample must be intepolate or vim, got {upsample!r}")
        self.upsample = upsample
        groups = in_channels if use_dw else 1
        kinds: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.linear_fuse = ConvModule(in_channels, in_channels, 1, groups=groups, bias=False, **kinds)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return logits [N, K, h, w] at the size of the chosen map of ``feats``."""
        return self.cls_seg(self.linear_fuse(self.select(feats)))

    def predict(self, feats: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return the logits at the size of the network's input.

        Args:
            feats: As for ``select``.
            size: Height and width of the input that ``feats`` were computed from.

        Returns:
            [N, K, *size]; with ``vim`` minus infinity for the classes that win nowhere.
        """
        logits = self(feats)
        if self.upsample != "vim":
            return resize(logits, size, self.align_corners)
        valid = logits.argmax(1).unique()
        full = logits.new_full((len(logits), self.out_channels, *size), float("-inf"))
        full[:, valid] = resize(logits[:, valid], size, self.align_corners)
        return full
