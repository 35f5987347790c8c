"""What heads share that predict something at every point of every feature level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.dist import all_reduce
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

Options = dict[str, Any]


def conv_tower(
    in_channels: int,
    channels: int,
    depth: int,
    conv_cfg: Options | None = None,
    norm_cfg: Options | None = None,
    bias: bool | str = "auto",
) -> nn.Sequential:
    """Return ``depth`` 3x3 convolutions with norm and ReLU, keys ``i.conv`` and the norm's name.

    Args:
        in_channels: Channels that come in.
        channels: Channels of every convolution.
        depth: How many; 0 gives the identity.
        conv_cfg: mmcv's convolution config. None: Conv2d.
        norm_cfg: mmcv's norm config. None: none.
        bias: Of the convolutions; ``auto``: only without a norm.
    """
    shared = {"padding": 1, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "bias": bias}
    return nn.Sequential(*(ConvModule(channels if i else in_channels, channels, 3, **shared) for i in range(depth)))


def flatten_level(x: Tensor, channels: int) -> Tensor:
    """Return a map [N, A * channels, H, W] as [N, H * W * A, channels], in at least float32."""
    return precise(x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, channels))


def precise(x: Tensor) -> Tensor:
    """Return ``x`` in at least float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def map_sizes(maps: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return (h, w) of each map [N, C, h, w]."""
    return [(x.shape[-2], x.shape[-1]) for x in maps]


def split_ignored(sample: BaseDataElement) -> tuple[InstanceData, InstanceData | None]:
    """Return a sample's boxes to find and its crowds, None where it carries none."""
    return sample.gt_instances, sample.get("ignored_instances")


def pad_instances(samples: Sequence[BaseDataElement], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the true boxes of a batch as one tensor each.

    Args:
        samples: N images' samples with G_i boxes.
        dtype: Of the boxes.

    Returns:
        Boxes [N, G, 4] and labels [N, G] with G the largest G_i, but at least 1; what is missing is 0.
    """
    boxes = pad_sequence([sample.gt_instances.bboxes for sample in samples], batch_first=True).to(dtype)
    labels = pad_sequence([sample.gt_instances.labels for sample in samples], batch_first=True)
    if boxes.shape[1] == 0:
        boxes, labels = boxes.new_zeros(len(samples), 1, 4), labels.new_zeros(len(samples), 1)
    return boxes, labels


def centerness_target(distances: Tensor) -> Tensor:
    """Return how central a point is in its box: 1 in the middle, 0 at the border.

    Args:
        distances: [..., 4] left, top, right, bottom; positive.

    Returns:
        [...] in [0, 1].
    """
    left, top, right, bottom = distances.unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    along = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (across * along).sqrt()


def mean_over_ranks(x: Tensor) -> Tensor:
    """Return a detached tensor's average over the processes of a distributed run; ``x`` itself elsewhere."""
    x = x.detach().clone()
    all_reduce(x, op="mean")
    return x
