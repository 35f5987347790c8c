"""Classification heads: logits, the loss on them, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.heads.losses.accuracy import accuracy
from foveal.registry import MODELS
from foveal.structures import DataSample

Config = dict[str, Any]


@MODELS.register_module()
class ClsHead(BaseModule):
    """Loss and predictions around a family's official classification tail.

    Args:
        tail: Config node of an nn.Module ``tail(in_channels, num_classes, …)`` whose forward turns the backbone's maps
            into logits. A tail that reads something else names the backbone's method for it in its attribute ``reads``.
        num_classes: K.
        in_channels: Of the map that the tail reads, or a list where ``in_index`` is a list.
        in_index: Which of the backbone's maps ``in_channels`` is filled from where a config leaves it out; None: all.
        loss: Loss on logits [N, K] and labels [N].
        topk: The k of the accuracies that ``cal_acc`` reports.
        cal_acc: Report the accuracy of training batches.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        tail: Config,
        num_classes: int,
        in_channels: int | Sequence[int],
        in_index: int | Sequence[int] | None = -1,
        loss: Config = {"type": "CrossEntropyLoss", "loss_weight": 1.0},  # noqa: B006
        topk: int | Sequence[int] = (1,),
        cal_acc: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": "Linear", "std": 0.02, "bias": 0.0})
        self.num_classes = num_classes
        self.in_index = in_index
        self.tail = MODELS.build({**tail, "in_channels": in_channels, "num_classes": num_classes})
        self.reads = getattr(self.tail, "reads", "forward")
        self.loss_module = MODELS.build(loss)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self.cal_acc = cal_acc

    def forward(self, feats: Any) -> Tensor:
        """Return logits [N, K] of the backbone's maps, a tuple of [N, C, H, W]."""
        return self.tail(feats)

    def loss(self, feats: Any, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return ``loss``, and ``accuracy_top-k`` in per cent where asked for, of N samples with ``gt_label``."""
        return classification_loss(self(feats), data_samples, self.loss_module, self.topk if self.cal_acc else ())

    def predict(self, feats: Any, data_samples: list[DataSample]) -> list[DataSample]:
        """Return the N samples with ``pred_label`` and ``pred_score``."""
        return classification_predict(self(feats), data_samples)


@MODELS.register_module()
class LinearClsHead(BaseModule):
    """Global average pooling and a linear layer ``fc``, as mmpretrain's head and torchvision's ResNet.

    Args:
        num_classes: K.
        in_channels: C of the last map.
        loss: Loss on logits [N, K] and labels [N].
        topk: The k of the accuracies that ``cal_acc`` reports.
        cal_acc: Report the accuracy of training batches.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: Config = {"type": "CrossEntropyLoss", "loss_weight": 1.0},  # noqa: B006
        topk: int | Sequence[int] = (1,),
        cal_acc: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "Normal", "layer": "Linear", "std": 0.01})
        self.num_classes = num_classes
        self.fc = nn.Linear(in_channels, num_classes)
        self.loss_module = MODELS.build(loss)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self.cal_acc = cal_acc

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return logits [N, K] of the last map, [N, C, H, W] or already pooled [N, C]."""
        x = feats[-1]
        return self.fc(x.mean((-2, -1)) if x.ndim == 4 else x)

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return ``loss``, and ``accuracy_top-k`` in per cent where asked for, of N samples with ``gt_label``."""
        return classification_loss(self(feats), data_samples, self.loss_module, self.topk if self.cal_acc else ())

    def predict(self, feats: tuple[Tensor, ...], data_samples: list[DataSample]) -> list[DataSample]:
        """Return the N samples with ``pred_label`` and ``pred_score``."""
        return classification_predict(self(feats), data_samples)


def classification_loss(
    logits: Tensor, data_samples: Sequence[DataSample], loss: nn.Module, topk: Sequence[int] = ()
) -> dict[str, Tensor]:
    """Compare logits with the samples' labels.

    Args:
        logits: [N, K].
        data_samples: N, each with ``gt_label`` int64 [1].
        loss: Called with logits and labels [N].
        topk: Accuracies to report.

    Returns:
        ``loss``, and ``accuracy_top-k`` in per cent for each k.
    """
    labels = torch.cat([sample.gt_label for sample in data_samples]).to(logits.device)
    return {"loss": loss(logits, labels), **{f"accuracy_top-{k}": accuracy(logits, labels, k) for k in topk}}


def classification_predict(logits: Tensor, data_samples: Sequence[DataSample]) -> list[DataSample]:
    """Write predictions into the samples.

    Args:
        logits: [N, K].
        data_samples: N.

    Returns:
        The samples with ``pred_score`` float [K], the softmax, and ``pred_label`` int64 [1], its largest.
    """
    for sample, score in zip(data_samples, logits.softmax(1), strict=True):
        sample.pred_score = score
        sample.pred_label = score.argmax().reshape(1)
    return list(data_samples)
