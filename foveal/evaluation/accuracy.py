"""Accuracy of image classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from foveal.errors import ConfigError
from foveal.registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of images, in percent, whose class is among the k highest scores: ``accuracy/top1`` …, as mmpretrain.

    Args:
        topk: One k or several.
        thrs: Scores up to this do not count as predictions; one value or several, then ``top1_thr-0.50`` … (and
            ``top1_no-thr`` for None). None: no threshold. mmpretrain's default is 0, which differs where a score is
            exactly 0.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the names of the results. None: ``accuracy``.
    """

    default_prefix = "accuracy"

    def __init__(
        self,
        topk: int | Sequence[int] = (1,),
        thrs: float | Sequence[float | None] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self.thrs = (thrs,) if thrs is None or isinstance(thrs, (int, float)) else tuple(thrs)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep of each sample whether it is right, for each k and threshold.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``pred_score`` [num_classes] and ``gt_label`` [1].

        Raises:
            ConfigError: If there are fewer classes than the largest k.
        """
        for sample in data_samples:
            self.results.append(self._hits(sample["pred_score"].cpu(), sample["gt_label"].cpu()))

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return the percentages.

        Args:
            results: Bool [len(topk), len(thrs)] of each image.
        """
        accuracy = 100 * torch.stack(results).double().mean(0)
        names = {}
        for row, k in enumerate(self.topk):
            for column, threshold in enumerate(self.thrs):
                suffix = "" if len(self.thrs) == 1 else "_no-thr" if threshold is None else f"_thr-{threshold:.2f}"
                names[f"top{k}{suffix}"] = float(accuracy[row, column])
        return names

    def _hits(self, score: Tensor, label: Tensor) -> Tensor:
        if max(self.topk) > len(score):
            raise ConfigError(f"Accuracy: topk asks for {max(self.topk)} classes, the model has {len(score)}")
        best, classes = score.topk(max(self.topk))
        right = classes == label
        rows = []
        for k in self.topk:
            rows.append([bool((right[:k] & (t is None or best[:k] > t)).any()) for t in self.thrs])
        return torch.tensor(rows)
