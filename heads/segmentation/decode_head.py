"""What every head that labels pixels shares: picking its feature maps, classifying, losses, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import ConfigError, DataError
from foveal.heads.losses.accuracy import accuracy
from foveal.heads.losses.cross_entropy import CrossEntropyLoss
from foveal.registry import MODELS, TASK_UTILS
from foveal.structures import DataSample

Options = dict[str, Any]

_RELU = {"type": "ReLU"}
_CROSS_ENTROPY = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
_INIT = {"type": "Normal", "std": 0.01, "override": {"name": "conv_seg"}}


def resize(x: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize [N, C, h, w] bilinearly to [N, C, *size]; ``x`` itself where it has that size."""
    size = tuple(size)
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)


class DecodeHead(BaseModule):
    """Base of the segmentation heads, with the arguments and keys of mmseg's ``BaseDecodeHead``.

    A child sets its layers after calling this constructor and implements ``forward``, which starts with
    ``select(feats)`` and ends with ``cls_seg(x)``.

    Args:
        in_channels: Channels of the map at ``in_index``, or one number a map.
        channels: C, the channels that ``conv_seg`` reads.
        num_classes: K.
        out_channels: Channels of the logits: K, or 1 for two classes told apart by a threshold. None: K.
        threshold: Probability above which a pixel is class 1; used where ``out_channels`` is 1.
        dropout_ratio: Whole channels dropped before ``conv_seg`` while training.
        conv_cfg: Kind of convolution, mmcv's.
        norm_cfg: Kind of normalisation, mmcv's. None: none.
        act_cfg: Kind of activation, mmcv's. None: none.
        in_index: Which feature maps; negative numbers count from the coarsest.
        input_transform: ``resize_concat`` stacks the maps at the size of the first, ``multiple_select`` keeps them
            apart, None takes a single one.
        loss_decode: Config of the loss, or several; equal ``loss_name`` s are added up.
        ignore_index: Label that is not learnt.
        sampler: Config of what weighs the pixels of a batch, such as `OHEMPixelSampler`. None: all count alike.
        align_corners: As in ``torch.nn.functional.interpolate``.
        init_cfg: mmengine's initialisation.

    Raises:
        ConfigError: If the arguments contradict each other.

    Source: ``decode_head.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        num_classes: int,
        out_channels: int | None = None,
        threshold: float | None = None,
        dropout_ratio: float = 0.1,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        act_cfg: Options | None = _RELU,
        in_index: int | Sequence[int] = -1,
        input_transform: str | None = None,
        loss_decode: Options | Sequence[Options] = _CROSS_ENTROPY,
        ignore_index: int = 255,
        sampler: Options | None = None,
        align_corners: bool = False,
        init_cfg: Options | list[Options] | None = _INIT,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = self._input_channels(in_channels, in_index, input_transform)
        self.input_transform = input_transform
        self.in_index = in_index
        self.channels = channels
        self.num_classes = num_classes
        self.out_channels = num_classes if out_channels is None else out_channels
        self.threshold = 0.3 if threshold is None else threshold  # mmseg's default
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.act_cfg = act_cfg
        self.kinds: Options = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.ignore_index = ignore_index
        self.align_corners = align_corners
        several = isinstance(loss_decode, list | tuple)
        losses: list[Any] = [MODELS.build(cfg) for cfg in (loss_decode if several else [loss_decode])]
        self._check_outputs(losses)
        self.loss_decode: Any = nn.ModuleList(losses) if several else losses[0]
        self.sampler: Any = None if sampler is None else TASK_UTILS.build(sampler)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1)

    def _input_channels(self, in_channels: Any, in_index: Any, input_transform: str | None) -> Any:
        """Channels of what ``select`` returns: a number, or one a map."""
        name = type(self).__name__
        if input_transform not in (None, "resize_concat", "multiple_select"):
            known = "resize_concat, multiple_select or None"
            raise ConfigError(f"{name}.input_transform must be {known}, got {input_transform!r}")
        given = f"in_channels={in_channels}, in_index={in_index}"
        if input_transform is None:
            if not isinstance(in_channels, int) or not isinstance(in_index, int):
                raise ConfigError(f"{name} reads one feature map: in_channels and in_index are numbers, got {given}")
        elif isinstance(in_channels, int) or isinstance(in_index, int) or len(in_channels) != len(in_index):
            raise ConfigError(f"{name} reads several maps: in_channels and in_index go in pairs, got {given}")
        return sum(in_channels) if input_transform == "resize_concat" else in_channels

    def _check_outputs(self, losses: list[nn.Module]) -> None:
        name = type(self).__name__
        if self.out_channels not in (1, self.num_classes) or (self.out_channels == 1 and self.num_classes > 2):
            raise ConfigError(
                f"{name}.out_channels must be num_classes ({self.num_classes}), or 1 for two classes, "
                f"got {self.out_channels}"
            )
        if self.out_channels == 1 and any(isinstance(x, CrossEntropyLoss) and not x.use_sigmoid for x in losses):
            raise ConfigError(f"{name} with out_channels=1 needs CrossEntropyLoss(use_sigmoid=True) in loss_decode")

    def select(self, feats: Sequence[Tensor]) -> Any:
        """Return the maps that ``in_index`` names.

        Args:
            feats: Of the backbone or neck, finest first, each [N, C_i, H_i, W_i].

        Returns:
            A tensor, or a list for ``multiple_select``.
        """
        if isinstance(self.in_index, int):
            return feats[self.in_index]
        maps = [feats[i] for i in self.in_index]
        if self.input_transform == "multiple_select":
            return maps
        return torch.cat([resize(x, maps[0].shape[-2:], self.align_corners) for x in maps], dim=1)

    def cls_seg(self, x: Tensor) -> Tensor:
        """Turn features [N, C, h, w] into logits [N, K, h, w]."""
        return self.conv_seg(self.dropout(x))

    def loss(self, feats: Sequence[Tensor], data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch and its pixel accuracy.

        Args:
            feats: As for ``select``.
            data_samples: N of them with ``gt_sem_seg``, all of one size.

        Returns:
            A scalar for every ``loss_name``, and ``acc_seg`` in per cent.

        Raises:
            DataError: If a label is neither a class nor ``ignore_index`` (found on the CPU only).
        """
        return self.loss_by_feat(self(feats), data_samples)

    def loss_by_feat(self, seg_logits: Tensor, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """`loss` from the logits [N, K, h, w], which are resized to the labels once."""
        labels = torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in data_samples]).long()
        logits = resize(seg_logits, labels.shape[-2:], self.align_corners)
        several = isinstance(self.loss_decode, nn.ModuleList)
        criteria = self.loss_decode if several else [self.loss_decode]
        losses: dict[str, Tensor] = {}
        try:
            weight = None if self.sampler is None else self.sampler.sample(logits, labels, criteria, self.ignore_index)
            for criterion in criteria:
                value = criterion(logits, labels, weight=weight, ignore_index=self.ignore_index)
                losses[criterion.loss_name] = losses.get(criterion.loss_name, 0) + value
        except IndexError as error:
            raise DataError(self._wrong_label(labels, data_samples)) from error
        losses["acc_seg"] = self._accuracy(logits.detach(), labels)
        return losses

    def predict(self, feats: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return the logits at the size of the network's input.

        Args:
            feats: As for ``select``.
            size: Height and width of the input that ``feats`` were computed from.

        Returns:
            [N, K, *size].
        """
        return resize(self(feats), size, self.align_corners)

    def _accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.out_channels == 1:
            above = logits.sigmoid() > self.threshold
            logits = torch.cat([~above, above], dim=1).to(logits.dtype)
        return accuracy(logits, labels, ignore_index=self.ignore_index)

    def _wrong_label(self, labels: Tensor, data_samples: Sequence[DataSample]) -> str:
        wrong = ((labels < 0) | (labels >= self.num_classes)) & (labels != self.ignore_index)
        first = int(wrong.flatten(1).any(1).nonzero()[0])
        source = data_samples[first].get("seg_map_path") or data_samples[first].get("img_path") or f"sample {first}"
        values = labels[first][wrong[first]].unique().tolist()
        return (
            f"{source}: label {values[0]} is neither a class (0 to {self.num_classes - 1}) "
            f"nor ignore_index ({self.ignore_index})"
        )
