"""IoUMetric: intersection over union of semantic label maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from foveal.data.palette import make_palette
from foveal.errors import ConfigError, DataError
from foveal.evaluation.table import render_table
from foveal.registry import METRICS

IOU_METRICS = ("mIoU", "mDice", "mFscore")


@METRICS.register_module()
class IoUMetric(BaseMetric):
    """Scores of semantic segmentation over all pixels of a data set, in percent, under mmseg's names.

    ``aAcc`` is the share of right pixels; ``mIoU``, ``mAcc``, ``mDice``, ``mFscore``, ``mPrecision`` and ``mRecall``
    are means over classes. A class that neither the truth nor the prediction holds does not count in a mean.

    Args:
        ignore_index: Pixels with this label do not count.
        iou_metrics: Some of ``mIoU`` (with ``mAcc``), ``mDice`` (with ``mAcc``), ``mFscore`` (with ``mPrecision`` and
            ``mRecall``).
        nan_to_num: Score of a class that does not occur, which then does count in the means.
        beta: Weight of recall in the F score.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        output_dir: Write each predicted label map there as ``<name of the image>.png``; where the data set reduced
            its zero label (ADE20K), labels are written as in the data set's own files, 1 to 150; where it has
            ``label_ids`` (Cityscapes), as those, which its server takes.
        format_only: Write the label maps and score nothing; needs no ground truth.
        prefix: First part of the names of the results. None: none, as mmseg.
        color_dir: Write each predicted label map there, too, as a PNG in the colours of the data set's classes.

    Raises:
        ConfigError: If ``iou_metrics`` has an unknown name, or ``format_only`` lacks ``output_dir``.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        iou_metrics: str | Sequence[str] = ("mIoU",),
        nan_to_num: float | None = None,
        beta: float = 1.0,
        collect_device: str = "cpu",
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        color_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        wrong = [m for m in self.metrics if m not in IOU_METRICS]
        if wrong or not self.metrics:
            raise ConfigError(f"IoUMetric: iou_metrics are some of {', '.join(IOU_METRICS)}, got {iou_metrics!r}")
        if format_only and output_dir is None:
            raise ConfigError("IoUMetric: format_only=True writes files, so it needs output_dir")
        self.ignore_index = ignore_index
        self.nan_to_num = nan_to_num
        self.beta = beta
        self.output_dir = Path(output_dir) if output_dir is not None else None
        self.format_only = format_only
        self.color_dir = Path(color_dir) if color_dir is not None else None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``pred_sem_seg`` and ``gt_sem_seg``, ``data`` [1, H, W] each, both at
                the original size.
        """
        for sample in data_samples:
            pred = sample["pred_sem_seg"]["data"][0]
            if self.output_dir is not None:
                self._write(sample, pred, self.output_dir)
            if self.color_dir is not None:
                self._write_colours(sample, pred, self.color_dir)
            if self.format_only:
                self.results.append(None)
                continue
            if "gt_sem_seg" not in sample:
                raise DataError(
                    f"{_name(sample)} has no label map to score against; load it in the test pipeline "
                    "(LoadAnnotations) or set format_only=True"
                )
            gt = crop_padding(sample["gt_sem_seg"]["data"][0].to(pred.device), pred.shape, self.ignore_index, sample)
            try:
                counts = count_pixels(pred, gt, len(self.dataset_meta["classes"]), self.ignore_index)
            except ValueError as error:
                raise DataError(f"{_name(sample)}: {error}") from error
            self.results.append(counts.cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return the scores of all images.

        Args:
            results: Counts int64 [3, C] of each image, see `count_pixels`.

        Returns:
            Scores in percent; nothing with ``format_only``.
        """
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f"{len(results)} label maps written to {self.output_dir}")
            return {}
        per_class = class_scores(torch.stack(results).sum(0), self.metrics, self.beta, self.nan_to_num)
        overall = per_class.pop("aAcc")
        classes = list(self.dataset_meta["classes"])
        occurring = [i for i in range(len(classes)) if any(torch.isfinite(values[i]) for values in per_class.values())]
        rows = [[classes[i], *(100 * float(values[i]) for values in per_class.values())] for i in occurring]
        logger.info(
            f"scores by class, in percent, of the {len(rows)} of {len(classes)} classes that occur:\n"
            + render_table(["class", *per_class], rows, digits=2)
        )
        scores = {"aAcc": 100 * float(overall)}
        scores.update({f"m{key}": 100 * float(values.nanmean()) for key, values in per_class.items()})
        return scores

    def _write(self, sample: dict[str, Any], pred: Tensor, folder: Path) -> None:
        labels = pred.cpu().numpy().astype(np.uint8)
        ids = (self.dataset_meta or {}).get("label_ids")
        if ids is not None:
            labels = np.asarray(ids, np.uint8)[labels]
        if sample.get("reduce_zero_label", False):
            labels = labels + 1
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{Path(sample['img_path']).stem}.png"), labels)

    def _write_colours(self, sample: dict[str, Any], pred: Tensor, folder: Path) -> None:
        palette = self.dataset_meta.get("palette") or make_palette(len(self.dataset_meta["classes"]))
        folder.mkdir(parents=True, exist_ok=True)
        colours = np.asarray(palette, np.uint8)[pred.cpu().numpy()]
        cv2.imwrite(str(folder / f"{Path(sample['img_path']).stem}.png"), colours[..., ::-1])


def count_pixels(pred: Tensor, gt: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count the pixels of each class in one image.

    Args:
        pred: Integer [H, W], labels in [0, num_classes).
        gt: Integer [H, W], the same or ``ignore_index``.
        num_classes: C.
        ignore_index: Label of pixels that do not count.

    Returns:
        Int64 [3, C]: pixels of class c in both, in the prediction, in the truth.

    Raises:
        ValueError: If a label is out of range.
    """
    kept = gt != ignore_index
    pred, gt = pred[kept].long(), gt[kept].long()
    for labels, what in ((gt, "its label map"), (pred, "the prediction")):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
            raise ValueError(
                f"{what} has labels from {int(labels.min())} to {int(labels.max())}, expected 0 to {num_classes - 1} "
                f"or {ignore_index} (ignored)"
            )
    confusion = torch.bincount(gt * num_classes + pred, minlength=num_classes**2).view(num_classes, num_classes)
    return torch.stack([confusion.diagonal(), confusion.sum(0), confusion.sum(1)])


def class_scores(
    counts: Tensor, metrics: Sequence[str], beta: float = 1.0, nan_to_num: float | None = None
) -> dict[str, Tensor]:
    """Return scores in [0, 1] from the counts of a whole data set.

    Args:
        counts: [3, C], see `count_pixels`.
        metrics: Some of ``mIoU``, ``mDice``, ``mFscore``.
        beta: Weight of recall in the F score.
        nan_to_num: Replaces NaN, the score of a class that does not occur.

    Returns:
        ``aAcc`` float64 [] and, by class, float64 [C]: ``IoU`` and ``Acc``, ``Dice`` and ``Acc``, ``Fscore``,
        ``Precision`` and ``Recall``.
    """
    both, predicted, true = counts.double()
    scores = {"aAcc": both.sum() / true.sum()}
    if "mIoU" in metrics:
        scores["IoU"] = both / (predicted + true - both)
        scores["Acc"] = both / true
    if "mDice" in metrics:
        scores["Dice"] = 2 * both / (predicted + true)
        scores["Acc"] = both / true
    if "mFscore" in metrics:
        precision, recall = both / predicted, both / true
        scores["Fscore"] = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
        scores["Precision"], scores["Recall"] = precision, recall
    if nan_to_num is not None:
        scores = {key: value.nan_to_num(nan=nan_to_num) for key, value in scores.items()}
    return scores


def crop_padding(gt: Tensor, shape: Sequence[int], ignore_index: int, sample: dict[str, Any]) -> Tensor:
    """Return the label map cropped to ``shape`` where it was padded, at the bottom and right, with ``ignore_index``.

    Raises:
        DataError: If the sizes differ in another way.
    """
    height, width = shape
    if gt.shape == (height, width):
        return gt
    padded = gt.shape[0] >= height and gt.shape[1] >= width
    if not padded or bool((gt[height:] != ignore_index).any()) or bool((gt[:, width:] != ignore_index).any()):
        raise DataError(
            f"{_name(sample)}: the label map is {tuple(gt.shape)}, the prediction {(height, width)} (h, w); in the "
            "test pipeline, load the annotations after the resize, so that they keep the original size"
        )
    return gt[:height, :width]


def _name(sample: dict[str, Any]) -> str:
    return str(sample.get("img_path", "an image"))
