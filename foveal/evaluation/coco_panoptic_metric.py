"""CocoPanopticMetric: PQ, SQ and RQ of panoptic maps."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from foveal.errors import ConfigError, DataError
from foveal.evaluation.panoptic import VOID, Segment, panoptic_counts, panoptic_scores
from foveal.evaluation.table import render_table
from foveal.registry import METRICS

INSTANCE_OFFSET = 1000
"""A value of a predicted map is class + number of the object * this, as in mmdet."""


@METRICS.register_module()
class CocoPanopticMetric(BaseMetric):
    """Panoptic quality in percent, over all classes, over things (``_th``) and over stuff (``_st``), mmdet's names.

    Args:
        ann_file: COCO panoptic JSON file.
        seg_prefix: Folder of its PNGs.
        classwise: Log a table by class.
        format_only: Write the results and score nothing; needs ``outfile_prefix``.
        outfile_prefix: Write the predictions to ``<outfile_prefix>.panoptic.json`` and PNGs in
            ``<outfile_prefix>.panoptic``, as COCO's server takes them.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the names of the results. None: ``coco_panoptic``.

    Raises:
        ConfigError: If ``format_only`` lacks ``outfile_prefix``, or a class of the data set is not in the file.
        DataError: If the file is missing or is not a COCO panoptic one.
    """

    default_prefix = "coco_panoptic"

    def __init__(
        self,
        ann_file: str,
        seg_prefix: str,
        classwise: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and outfile_prefix is None:
            raise ConfigError("CocoPanopticMetric: format_only=True writes files, so it needs outfile_prefix")
        self.ann_file = ann_file
        self.seg_prefix = seg_prefix
        self.classwise = classwise
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.categories, self.annotations = _read(ann_file)

    @property
    def cat_ids(self) -> list[int]:
        """The file's category id of each label.

        Raises:
            ConfigError: If the data set has a class that is not in the file.
        """
        by_name = {category["name"]: category["id"] for category in self.categories}
        missing = [name for name in self.dataset_meta["classes"] if name not in by_name]
        if missing:
            raise ConfigError(f"CocoPanopticMetric: {self.ann_file} has no category {', '.join(missing)}")
        return [by_name[name] for name in self.dataset_meta["classes"]]

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Match the segments of a batch with the truth.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``img_id`` and ``pred_panoptic_seg``, whose ``sem_seg`` int [1, H, W]
                has class + `INSTANCE_OFFSET` * object; a class number from ``len(classes)`` on means no segment.

        Raises:
            DataError: If an image is not in the annotation file, or a PNG is missing or of another size.
        """
        cat_ids = self.cat_ids
        for sample in data_samples:
            values = np.asarray(sample["pred_panoptic_seg"]["sem_seg"].cpu())[0].astype(np.int64)
            labels = values % INSTANCE_OFFSET
            # ids from 1 on: the first class's only segment would be VOID otherwise
            ids = np.where(labels < len(cat_ids), values + 1, VOID)
            segments = {int(i): Segment(int((i - 1) % INSTANCE_OFFSET)) for i in np.unique(ids) if i != VOID}
            annotation = self.annotations.get(sample["img_id"])
            if annotation is None:
                raise DataError(f"{self.ann_file} has no image with the id {sample['img_id']}")
            written = None
            if self.outfile_prefix is not None:
                written = self._write(annotation, ids, segments, cat_ids)
            counts = None if self.format_only else self._counts(annotation, ids, segments, cat_ids)
            self.results.append((counts, written))

    def compute_metrics(self, results: list[tuple[np.ndarray | None, dict[str, Any] | None]]) -> dict[str, float]:
        """Return the scores of all images.

        Args:
            results: Counts of each image, see `panoptic_counts`, and its annotation for the file of results.

        Returns:
            ``PQ``, ``SQ``, ``RQ`` and the same with ``_th`` and ``_st``; nothing with ``format_only``.
        """
        logger = MMLogger.get_current_instance()
        if self.outfile_prefix is not None:
            path = Path(f"{self.outfile_prefix}.panoptic.json")
            path.write_text(json.dumps({"annotations": [written for _, written in results]}))
            logger.info(f"{len(results)} panoptic maps written to {path} and the folder beside it")
        if self.format_only:
            return {}
        qualities = panoptic_scores(np.sum([counts for counts, _ in results if counts is not None], axis=0))
        things = {category["id"] for category in self.categories if category["isthing"]}
        is_thing = np.array([cat_id in things for cat_id in self.cat_ids])
        groups = {"": np.ones_like(is_thing), "_th": is_thing, "_st": ~is_thing}
        if self.classwise:
            rows = [
                [name, *(100 * float(quality[i]) for quality in qualities)]
                for i, name in enumerate(self.dataset_meta["classes"])
            ]
            logger.info("scores by class, in percent:\n" + render_table(["class", "PQ", "SQ", "RQ"], rows, digits=2))
        return {
            key + suffix: 100 * _mean(quality[group])
            for suffix, group in groups.items()
            for key, quality in zip(("PQ", "SQ", "RQ"), qualities, strict=True)
        }

    def _counts(
        self, annotation: dict[str, Any], ids: np.ndarray, segments: dict[int, Segment], cat_ids: list[int]
    ) -> np.ndarray:
        path = os.path.join(self.seg_prefix, annotation["file_name"])
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{path}: the panoptic PNG is missing or does not decode")
        if image.shape[:2] != ids.shape:
            raise DataError(f"{path}: the truth is {image.shape[:2]}, the prediction {ids.shape} (h, w)")
        truth = image.astype(np.int64) @ np.array([65536, 256, 1])  # OpenCV reads blue first
        labels = {cat_id: label for label, cat_id in enumerate(cat_ids)}
        known = {
            info["id"]: Segment(labels[info["category_id"]], bool(info.get("iscrowd", 0)))
            for info in annotation["segments_info"]
            if info["category_id"] in labels
        }
        return panoptic_counts(truth, ids, known, segments, len(cat_ids))

    def _write(
        self, annotation: dict[str, Any], ids: np.ndarray, segments: dict[int, Segment], cat_ids: list[int]
    ) -> dict[str, Any]:
        folder = Path(f"{self.outfile_prefix}.panoptic")
        folder.mkdir(parents=True, exist_ok=True)
        name = Path(annotation["file_name"]).name
        colours = np.stack([ids // 65536, ids // 256 % 256, ids % 256], -1).astype(np.uint8)
        cv2.imwrite(str(folder / name), colours)
        infos = [
            {"id": id_, "category_id": cat_ids[segment.category], "area": int((ids == id_).sum())}
            for id_, segment in segments.items()
        ]
        return {"image_id": annotation["image_id"], "file_name": name, "segments_info": infos}


def _mean(values: np.ndarray) -> float:
    """The mean over the classes that occur; NaN where none does."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _read(path: str) -> tuple[list[dict[str, Any]], dict[Any, dict[str, Any]]]:
    """Return a panoptic file's categories and its annotations by image id."""
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise DataError(f"{path}: the annotation file does not exist") from error
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not annotations or "segments_info" not in annotations[0] or "categories" not in content:
        raise DataError(f"{path}: not a COCO panoptic file, which has categories and annotations with segments_info")
    return content["categories"], {annotation["image_id"]: annotation for annotation in annotations}
