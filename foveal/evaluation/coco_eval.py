"""COCO's detection scores as a function: annotations and detections in, the twelve numbers out.

The definition is pycocotools' (https://github.com/cocodataset/cocoapi); faster-coco-eval computes the same in C++
(https://github.com/MiXaiLL76/faster_coco_eval). Either fills the arrays of precision and recall; the summary is made
here, so that both print and name the same things.

Letters: T thresholds of IoU, R = 101 recall levels, K categories, A = 4 area ranges, M = 3 limits on detections.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from foveal.errors import ConfigError, DataError

AREAS = ("all", "small", "medium", "large")
BACKENDS = ("auto", "faster", "pycocotools")
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class CocoCurves:
    """What an evaluation leaves before it is summarised; -1 marks a setting without ground truth.

    Attributes:
        precision: Float [T, R, K, A, M].
        recall: Float [T, K, A, M], the highest recall reached.
        cat_ids: The K category ids, ascending.
        max_dets: The M limits on detections per image and category, ascending.
        iou_thrs: The T thresholds.
    """

    precision: np.ndarray
    recall: np.ndarray
    cat_ids: tuple[int, ...]
    max_dets: tuple[int, ...]
    iou_thrs: np.ndarray


@dataclass(frozen=True)
class _Line:
    """One of the twelve numbers: which slice of the curves it averages."""

    name: str
    is_precision: bool
    iou: float | None
    area: str
    max_det: int


def evaluate_coco(
    gt: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    iou_type: str = "bbox",
    backend: str = "auto",
    max_dets: Sequence[int] = (1, 10, 100),
) -> dict[str, float]:
    """Return COCO's twelve numbers.

    Args:
        gt: A COCO annotation file's content: ``images``, ``categories``, ``annotations``. Left unchanged.
        detections: COCO results: ``image_id``, ``category_id``, ``score``, ``bbox`` (x, y, w, h in pixels) and, for
            ``segm``, ``segmentation`` (compressed RLE). Left unchanged.
        iou_type: ``bbox`` or ``segm``.
        backend: ``faster``, ``pycocotools``, or ``auto``: the first that is installed.
        max_dets: Three limits on detections per image and category.

    Returns:
        ``mAP``, ``mAP_50``, ``mAP_75``, ``mAP_s``, ``mAP_m``, ``mAP_l`` and, for limits (1, 10, 100), ``AR@1``,
        ``AR@10``, ``AR@100``, ``AR_s@100``, ``AR_m@100``, ``AR_l@100``; each in [0, 1], or -1 where no object counts.
    """
    return summarise(coco_curves(gt, detections, iou_type, backend, max_dets=max_dets))


def coco_curves(
    gt: dict[str, Any],
    detections: Sequence[dict[str, Any]],
    iou_type: str = "bbox",
    backend: str = "auto",
    cat_ids: Sequence[int] | None = None,
    max_dets: Sequence[int] = (1, 10, 100),
    iou_thrs: Sequence[float] | None = None,
) -> CocoCurves:
    """Match detections to ground truth and return precision and recall.

    Annotations are numbered anew from 1: pycocotools takes a match with the annotation of id 0 for no match.

    Args:
        gt: As in `evaluate_coco`.
        detections: As in `evaluate_coco`.
        iou_type: ``bbox`` or ``segm``.
        backend: As in `evaluate_coco`.
        cat_ids: Categories that count. None: all.
        max_dets: Three limits on detections per image and category.
        iou_thrs: Thresholds. None: 0.50, 0.55 … 0.95.

    Returns:
        The curves.

    Raises:
        ConfigError: If the IoU type or the backend is unknown or not installed.
        DataError: If a detection names an image that the annotations lack, or a segmentation is missing.
    """
    if iou_type not in ("bbox", "segm"):
        raise ConfigError(f"COCO evaluation knows the metrics 'bbox' and 'segm', got {iou_type!r}")
    coco_class, eval_class, options = _library(backend)
    thresholds = IOU_THRESHOLDS if iou_thrs is None else np.asarray(iou_thrs, dtype=np.float64)
    with contextlib.redirect_stdout(io.StringIO()), _no_garbage_collection():
        truth = _index(coco_class, gt, _prepare_truth(gt, iou_type))
        found = _index(coco_class, gt, _prepare_detections(gt, detections, iou_type))
        run = eval_class(truth, found, iou_type, **options)
        if iou_type == "segm" and options:
            _match_wanted_masks(run, gt)
        run.params.catIds = sorted(run.params.catIds if cat_ids is None else cat_ids)
        run.params.maxDets = sorted(max_dets)
        run.params.iouThrs = thresholds
        run.evaluate()
        run.accumulate()
    shape = (len(thresholds), 101, len(run.params.catIds), len(AREAS), len(max_dets))
    return CocoCurves(
        np.asarray(run.eval["precision"], dtype=np.float64).reshape(shape),
        np.asarray(run.eval["recall"], dtype=np.float64).reshape(shape[:1] + shape[2:]),
        tuple(int(c) for c in run.params.catIds),
        tuple(sorted(max_dets)),
        thresholds,
    )


def summarise(curves: CocoCurves) -> dict[str, float]:
    """Return the twelve numbers by name, as described at `evaluate_coco`."""
    return {line.name: _average(curves, line) for line in _lines(curves.max_dets)}


def item_names(max_dets: Sequence[int]) -> list[str]:
    """Return the names of the twelve numbers for three limits on detections."""
    return [line.name for line in _lines(tuple(sorted(max_dets)))]


def summary_lines(curves: CocoCurves) -> list[str]:
    """Return the twelve lines as pycocotools prints them."""
    lines = []
    for line in _lines(curves.max_dets):
        title = "Average Precision  (AP)" if line.is_precision else "Average Recall     (AR)"
        thresholds = curves.iou_thrs
        iou = f"{thresholds[0]:0.2f}:{thresholds[-1]:0.2f}" if line.iou is None else f"{line.iou:0.2f}"
        value = _average(curves, line)
        lines.append(f" {title} @[ IoU={iou:<9} | area={line.area:>6s} | maxDets={line.max_det:>3d} ] = {value:0.3f}")
    return lines


def per_class(curves: CocoCurves) -> dict[int, dict[str, float]]:
    """Return ``mAP``, ``mAP_50``, ``mAP_75``, ``mAP_s``, ``mAP_m`` and ``mAP_l`` of each category id.

    NaN where a category has no object of the size. All with the highest limit on detections, as mmdet's table.
    """
    lines = [line for line in _lines(curves.max_dets) if line.is_precision]
    table = {}
    for index, cat_id in enumerate(curves.cat_ids):
        row = {}
        for line in lines:
            chosen = _thresholds(curves, line.iou)
            value = _mean(curves.precision[chosen, :, index, AREAS.index(line.area), -1])
            row[line.name] = float("nan") if value == -1 else value
        table[cat_id] = row
    return table


def _lines(max_dets: tuple[int, ...]) -> list[_Line]:
    first, second, last = max_dets
    # pycocotools fixes the first line to 100 detections; without that limit the highest one is the nearest in meaning
    main = 100 if 100 in max_dets else last
    return [
        _Line("mAP", True, None, "all", main),
        _Line("mAP_50", True, 0.5, "all", last),
        _Line("mAP_75", True, 0.75, "all", last),
        *(_Line(f"mAP_{area[0]}", True, None, area, last) for area in AREAS[1:]),
        *(_Line(f"AR@{limit}", False, None, "all", limit) for limit in (first, second, last)),
        *(_Line(f"AR_{area[0]}@{last}", False, None, area, last) for area in AREAS[1:]),
    ]


def _average(curves: CocoCurves, line: _Line) -> float:
    values = curves.precision if line.is_precision else curves.recall
    area, limit = AREAS.index(line.area), curves.max_dets.index(line.max_det)
    return _mean(values[_thresholds(curves, line.iou), ..., area, limit])


def _thresholds(curves: CocoCurves, iou: float | None) -> np.ndarray:
    """Return a mask over T: all, or the threshold ``iou`` where it was evaluated."""
    return np.ones(len(curves.iou_thrs), bool) if iou is None else np.isclose(curves.iou_thrs, iou)


def _mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Not to look for garbage: there is none, and going through a million new dicts is a third of an evaluation."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _library(backend: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return the index class, the evaluation class and its extra arguments."""
    if backend not in BACKENDS:
        raise ConfigError(f"the COCO evaluation backend is one of {', '.join(BACKENDS)}, got {backend!r}")
    installed = importlib.util.find_spec("faster_coco_eval") is not None
    if backend == "faster" and not installed:
        raise ConfigError("the COCO evaluation backend 'faster' needs the package faster-coco-eval (pip install it)")
    if backend == "pycocotools" or not installed:
        return COCO, COCOeval, {}
    import faster_coco_eval

    return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, {"print_function": lambda *_: None}


def _match_wanted_masks(run: Any, gt: dict[str, Any]) -> None:
    """Let faster-coco-eval read the masks of an image and category only when it compares them.

    It reads all of them beforehand. Most detections are of a category that their image does not hold: nothing is
    compared with them, and only their area counts.
    """
    from faster_coco_eval.core import mask as faster_masks

    sizes = {image["id"]: (image["height"], image["width"]) for image in gt["images"]}

    def overlaps(image_id: int, cat_id: int) -> np.ndarray | list[float]:
        truths, found = (of.get_instances([image_id], [cat_id], True)[0][0] for of in (run.gt_dataset, run.dt_dataset))
        if not truths or not found:
            return []
        # the order that the matching takes, and its limit
        best = sorted(found, key=lambda d: -d["score"])[: run.params.maxDets[-1]]
        crowds = [int(t["iscrowd"]) for t in truths]
        first, second = (
            [_rle(a["segmentation"], *sizes[image_id]) for a in annotations] for annotations in (best, truths)
        )
        return faster_masks.iou(first, second, crowds)

    run.params.compute_rle = False
    run.computeIoU = overlaps


def _rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return COCO's polygons, counts or compressed counts as the last."""
    if isinstance(segmentation, list):
        return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_utils.frPyObjects(segmentation, height, width)
    return segmentation


def _mask_areas(masks: list[dict[str, Any]]) -> list[int]:
    """Return the pixels of each mask; pycocotools 2.0.11 counts those that it is given at once in one byte."""
    return [area for i in range(0, len(masks), 255) for area in mask_utils.area(masks[i : i + 255]).tolist()]


def _index(coco_class: Any, gt: dict[str, Any], annotations: list[dict[str, Any]]) -> Any:
    index = coco_class()
    index.dataset = {"images": gt["images"], "categories": gt["categories"], "annotations": annotations}
    index.createIndex()
    return index


def _prepare_truth(gt: dict[str, Any], iou_type: str) -> list[dict[str, Any]]:
    annotations = []
    for number, source in enumerate(gt.get("annotations", ()), start=1):
        annotation = {"iscrowd": 0, **source, "id": number}
        if "area" not in annotation:
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
        if iou_type == "segm" and not annotation.get("segmentation"):
            raise DataError(
                f"annotation {source.get('id', number)} of image {source['image_id']} has no segmentation, which the "
                "metric 'segm' needs"
            )
        annotations.append(annotation)
    return annotations


def _prepare_detections(
    gt: dict[str, Any], detections: Sequence[dict[str, Any]], iou_type: str
) -> list[dict[str, Any]]:
    known = {image["id"] for image in gt["images"]}
    strange = sorted({d["image_id"] for d in detections} - known, key=str)
    if strange:
        raise DataError(
            f"detections name {len(strange)} image ids that the annotations lack, first {strange[0]!r}; "
            f"the annotations hold {len(known)} images"
        )
    key = "segmentation" if iou_type == "segm" else "bbox"
    if iou_type == "segm":
        for d in detections:
            if key not in d:
                raise DataError(f"a detection of image {d['image_id']} has no mask, which the metric 'segm' needs")
        # the size class follows from the mask, not from the box that the detector also gave
        areas = _mask_areas([d[key] for d in detections])
    else:
        areas = [d["bbox"][2] * d["bbox"][3] for d in detections]
    return [
        {
            "image_id": d["image_id"],
            "category_id": d["category_id"],
            "score": d["score"],
            "id": number,
            "iscrowd": 0,
            "area": float(area),
            key: d[key],
        }
        for number, (d, area) in enumerate(zip(detections, areas, strict=True), start=1)
    ]
