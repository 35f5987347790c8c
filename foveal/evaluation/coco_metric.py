"""CocoMetric: average precision of boxes and masks as COCO defines it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from foveal.errors import ConfigError, DataError
from foveal.evaluation.coco_dump import detections_to_json
from foveal.evaluation.coco_eval import (
    BACKENDS,
    CocoCurves,
    coco_curves,
    item_names,
    per_class,
    summarise,
    summary_lines,
)
from foveal.evaluation.table import render_table
from foveal.registry import METRICS

PRECISIONS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """COCO's scores of boxes and instance masks, under mmdet's names (``coco/bbox_mAP`` …), in [0, 1].

    Every image of the annotation file counts, seen or not. A size without any object scores -1, as in pycocotools.

    Args:
        ann_file: Annotation file in COCO's format, with all images that are evaluated.
        metric: ``bbox``, ``segm``, or both in a list.
        classwise: Log a table by class and add ``<metric>_<class>_precision`` to the results, as mmdet.
        proposal_nums: Three limits on detections per image and category. mmdet's default; COCO's own is (1, 10, 100).
        iou_thrs: Thresholds of IoU. None: 0.50, 0.55 … 0.95.
        metric_items: Which of the twelve numbers to return (``mAP``, ``mAP_50``, ``AR@100`` …). None: the six
            precisions.
        format_only: Write the results to ``outfile_prefix`` and score nothing.
        outfile_prefix: Write the detections to ``<outfile_prefix>.<metric>.json`` in COCO's result format.
        backend: ``faster`` (faster-coco-eval), ``pycocotools``, or ``auto``: the first that is installed.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the names of the results. None: ``coco``.

    Raises:
        ConfigError: If an argument has a value that is not among those named, or the data set's classes are not
            those of the annotation file.
        DataError: If the annotation file is missing or is not COCO's format.
    """

    default_prefix = "coco"

    def __init__(
        self,
        ann_file: str,
        metric: str | Sequence[str] = "bbox",
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend: str = "auto",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        wrong = [m for m in self.metrics if m not in ("bbox", "segm")]
        if wrong or not self.metrics:
            raise ConfigError(f"CocoMetric: metric is 'bbox', 'segm' or a list of them, got {metric!r}")
        if len(proposal_nums) != 3:
            raise ConfigError(f"CocoMetric: proposal_nums are three limits, got {list(proposal_nums)}")
        known = item_names(proposal_nums)
        wrong = [item for item in metric_items or () if item not in known]
        if wrong:
            raise ConfigError(f"CocoMetric: metric_items has {', '.join(wrong)}; known are {', '.join(known)}")
        if backend not in BACKENDS:
            raise ConfigError(f"CocoMetric: backend is one of {', '.join(BACKENDS)}, got {backend!r}")
        if format_only and outfile_prefix is None:
            raise ConfigError("CocoMetric: format_only=True writes files, so it needs outfile_prefix")
        self.ann_file = ann_file
        self.classwise = classwise
        self.proposal_nums = tuple(sorted(proposal_nums))
        self.iou_thrs = None if iou_thrs is None else np.atleast_1d(iou_thrs).tolist()
        self.metric_items = list(metric_items) if metric_items is not None else list(PRECISIONS)
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.backend = backend
        self.gt = load_annotations(ann_file)
        self._cat_ids: list[int] | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes that objects have; a panoptic data set has others behind them."""
        meta = self.dataset_meta or {}
        return meta.get("thing_classes", meta.get("classes", ()))

    @property
    def cat_ids(self) -> list[int]:
        """The annotation file's category id of each label."""
        if self._cat_ids is None:
            self._cat_ids = match_classes(self.classes, self.gt, self.ann_file)
        return self._cat_ids

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the detections of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``img_id`` and ``pred_instances``, see `detections_to_json`.
        """
        for sample in data_samples:
            self.results.append((sample["img_id"], detections_to_json([sample], self.cat_ids)))

    def compute_metrics(self, results: list[tuple[Any, list[dict[str, Any]]]]) -> dict[str, float]:
        """Score the detections of all images.

        Args:
            results: Image id and detections of each image.

        Returns:
            The chosen numbers, named ``<metric>_<item>``; nothing with ``format_only``.
        """
        logger = MMLogger.get_current_instance()
        detections = [detection for _, image in results for detection in image]
        if self.outfile_prefix is not None:
            for metric in self.metrics:
                path = write_results(detections, self.outfile_prefix, metric)
                logger.info(f"{len(detections)} detections written to {path}")
        if self.format_only:
            return {}
        unseen = len({image["id"] for image in self.gt["images"]} - {image_id for image_id, _ in results})
        if unseen:
            logger.warning(
                f"{unseen} of {len(self.gt['images'])} images of {self.ann_file} were not evaluated; "
                "their objects count as missed"
            )
        if not detections:
            logger.warning("the model detected nothing on any image")
        scores: dict[str, float] = {}
        for metric in self.metrics:
            curves = coco_curves(
                self.gt, detections, metric, self.backend, self.cat_ids, self.proposal_nums, self.iou_thrs
            )
            logger.info("\n".join([f"COCO {metric}:", *summary_lines(curves)]))
            scores.update(self._select(metric, curves))
            if self.classwise:
                scores.update(self._per_class(metric, curves, logger))
        return scores

    def _select(self, metric: str, curves: CocoCurves) -> dict[str, float]:
        numbers = summarise(curves)
        return {f"{metric}_{item}": numbers[item] for item in self.metric_items}

    def _per_class(self, metric: str, curves: CocoCurves, logger: MMLogger) -> dict[str, float]:
        table = per_class(curves)
        names = dict(zip(self.cat_ids, self.classes, strict=True))
        rows: list[list[str | float]] = [
            [names[cat_id], *(table[cat_id][item] for item in PRECISIONS)] for cat_id in self.cat_ids
        ]
        logger.info(f"COCO {metric} by class:\n" + render_table(["category", *PRECISIONS], rows))
        return {f"{metric}_{names[cat_id]}_precision": table[cat_id]["mAP"] for cat_id in self.cat_ids}


def load_annotations(path: str) -> dict[str, Any]:
    """Read a COCO annotation file.

    Raises:
        DataError: If the file is missing, is not JSON, or lacks one of COCO's lists.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the annotation file {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"the annotation file {path} is not JSON: {error}") from error
    absent = [key for key in ("images", "categories", "annotations") if key not in content]
    if absent:
        raise DataError(f"the annotation file {path} is not in COCO's format: it lacks {', '.join(absent)}")
    return content


def match_classes(classes: Sequence[str], gt: dict[str, Any], ann_file: str) -> list[int]:
    """Return the category id of each class name.

    Args:
        classes: Names in the order of the labels.
        gt: The annotation file's content.
        ann_file: Its path, for messages.

    Raises:
        ConfigError: If names are missing, or one of them is not a category of the file or is one twice.
    """
    categories = [category["name"] for category in gt["categories"]]
    if not classes:
        raise ConfigError("CocoMetric: the data set gives no class names (its metainfo lacks 'classes')")
    strange = [name for name in classes if categories.count(name) != 1]
    if strange:
        raise ConfigError(
            f"the data set's classes do not match the categories of {ann_file}: {strange} must each be there once; "
            f"classes of the data set: {list(classes)}; categories of the file: {categories}"
        )
    ids = {category["name"]: category["id"] for category in gt["categories"]}
    return [ids[name] for name in classes]


def write_results(detections: list[dict[str, Any]], prefix: str, metric: str) -> Path:
    """Write detections as COCO results to ``<prefix>.<metric>.json`` and return the path."""
    path = Path(f"{prefix}.{metric}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    drop = "segmentation" if metric == "bbox" else "bbox"
    path.write_text(json.dumps([{k: v for k, v in d.items() if k != drop} for d in detections]), encoding="utf-8")
    return path
