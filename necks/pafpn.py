"""Path Aggregation Network (Liu et al., CVPR 2018, arXiv:1803.01534)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from foveal.necks.fpn import FPN, XAVIER
from foveal.registry import MODELS


@MODELS.register_module()
class PAFPN(FPN):
    """`FPN` with a second, bottom-up path; mmdet's arguments and keys (``downsample_convs.i``, ``pafpn_convs.i``).

    Args:
        in_channels: Channels of the maps that come in, finest first.
        out_channels: Channels of every map that goes out.
        num_outs: Maps that go out; those beyond the incoming ones are made by stride 2.
        start_level: First incoming map that is used.
        end_level: Last one that is used; -1: the last.
        add_extra_convs: As for `FPN`.
        relu_before_extra_convs: As there.
        no_norm_on_lateral: As there.
        conv_cfg: As there.
        norm_cfg: As there.
        act_cfg: As there.
        init_cfg: As there.

    Attributes:
        out_channels: Channels of each map that goes out.

    Shape:
        tuple of [N, in_channels[i], H_i, W_i] to a tuple of ``num_outs`` maps [N, out_channels, H_j, W_j].
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = XAVIER,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            num_outs,
            start_level,
            end_level,
            add_extra_convs,
            relu_before_extra_convs,
            no_norm_on_lateral,
            conv_cfg,
            norm_cfg,
            act_cfg,
            init_cfg=init_cfg,
        )
        shared = {"padding": 1, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg, "inplace": False}
        steps = range(self.end_level - self.start_level - 1)
        self.downsample_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=2, **shared) for _ in steps
        )
        self.pafpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, **shared) for _ in steps)

    def outs(self, used: Sequence[Tensor], laterals: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the ``num_outs`` maps, finest first, from the used maps and their top-down sums."""
        maps = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        for i, shrink in enumerate(self.downsample_convs):
            maps[i + 1] = maps[i + 1] + shrink(maps[i])
        outs = [maps[0], *(conv(x) for conv, x in zip(self.pafpn_convs, maps[1:], strict=True))]
        return self.with_extras(outs, used, laterals)
