"""COCO's numbers: ours from either backend against pycocotools run by hand."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from foveal.errors import ConfigError, DataError
from foveal.evaluation.coco_eval import coco_curves, evaluate_coco, per_class, summarise, summary_lines
from tests.evaluation.conftest import perturbed


def oracle(gt: dict, detections: list[dict], iou_type: str, max_dets=(1, 10, 100)) -> tuple[np.ndarray, list[str]]:
    """Stats and printed lines of pycocotools' own route. Ids from 1, since it takes a match with id 0 for none."""
    gt = copy.deepcopy(gt)
    for number, annotation in enumerate(gt["annotations"], start=1):
        annotation["id"] = number
    detections = copy.deepcopy(detections)
    if iou_type == "segm":
        for detection in detections:
            detection.pop("bbox")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        truth = COCO()
        truth.dataset = gt
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(detections), iou_type)
        run.params.maxDets = list(max_dets)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats, [line for line in out.getvalue().splitlines() if line.startswith(" Average")]


def truth_as_detections(gt: dict) -> list[dict]:
    """Every object but the crowds as a detection of score 1."""
    size = {image["id"]: (image["height"], image["width"]) for image in gt["images"]}
    found = []
    for annotation in gt["annotations"]:
        if annotation.get("iscrowd"):
            continue
        rle = annotation["segmentation"]
        if isinstance(rle, list):
            rle = mask_utils.merge(mask_utils.frPyObjects(rle, *size[annotation["image_id"]]))
        found.append({k: annotation[k] for k in ("image_id", "category_id", "bbox")} | {"score": 1.0})
        found[-1]["segmentation"] = rle
    return found


@pytest.mark.parametrize("backend", ["faster", "pycocotools"])
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
class TestNumbers:
    @pytest.mark.parametrize("max_dets", [(1, 10, 100), (1, 2, 100), (100, 300, 1000)])
    def test_equal_pycocotools(self, synthetic, iou_type, backend, max_dets):
        detections = perturbed(synthetic)
        expected, lines = oracle(synthetic, detections, iou_type, max_dets)
        curves = coco_curves(synthetic, detections, iou_type, backend, max_dets=max_dets)
        assert 0.1 < expected[0] < 0.9
        np.testing.assert_allclose(list(summarise(curves).values()), expected, atol=1e-6)
        assert summary_lines(curves) == lines

    def test_truth_scores_one(self, synthetic, iou_type, backend):
        scores = evaluate_coco(synthetic, truth_as_detections(synthetic), iou_type, backend)
        assert scores["mAP"] == scores["AR@100"] == 1.0

    def test_no_detections(self, synthetic, iou_type, backend):
        scores = evaluate_coco(synthetic, [], iou_type, backend)
        assert scores["mAP"] == scores["mAP_50"] == scores["AR@100"] == 0.0

    def test_no_objects_of_a_size(self, synthetic, iou_type, backend):
        large = [a for a in synthetic["annotations"] if a["area"] > 96**2]
        scores = evaluate_coco({**synthetic, "annotations": large}, [], iou_type, backend)
        assert scores["mAP_l"] == 0.0 and scores["mAP_s"] == scores["AR_s@100"] == -1.0

    def test_leaves_its_arguments_alone(self, synthetic, iou_type, backend):
        detections = perturbed(synthetic)
        before = copy.deepcopy((synthetic, detections))
        evaluate_coco(synthetic, detections, iou_type, backend)
        assert (synthetic, detections) == before

    def test_prints_nothing(self, synthetic, iou_type, backend, capfd):
        evaluate_coco(synthetic, perturbed(synthetic), iou_type, backend)
        assert capfd.readouterr() == ("", "")


def test_many_detections_are_cut(synthetic):
    """More detections an image and class than the limit: those with the highest scores count."""
    detections = [dict(d, score=d["score"] * f) for f in np.linspace(1, 0.5, 40) for d in perturbed(synthetic, 1)]
    results = [evaluate_coco(synthetic, detections, "bbox", b, (1, 5, 20)) for b in ("faster", "pycocotools")]
    assert results[0] == pytest.approx(results[1], abs=1e-6)
    assert results[0]["mAP_50"] == pytest.approx(oracle(synthetic, detections, "bbox", (1, 5, 20))[0][1], abs=1e-6)


def test_first_line_uses_the_highest_limit_where_100_is_not_asked(synthetic):
    scores = evaluate_coco(synthetic, perturbed(synthetic), max_dets=(1, 10, 50))
    assert scores["mAP"] > 0 and "AR@50" in scores


def test_categories_and_thresholds_can_be_chosen(synthetic):
    detections = perturbed(synthetic)
    curves = coco_curves(synthetic, detections, cat_ids=[30, 2], iou_thrs=[0.5])
    assert curves.cat_ids == (2, 30) and curves.precision.shape == (1, 101, 2, 4, 3)
    assert summarise(curves)["mAP_75"] == -1.0
    alone = {**synthetic, "categories": [c for c in synthetic["categories"] if c["id"] == 30]}
    alone["annotations"] = [a for a in synthetic["annotations"] if a["category_id"] == 30]
    only = evaluate_coco(alone, [d for d in detections if d["category_id"] == 30])
    assert per_class(curves)[30]["mAP_50"] == pytest.approx(only["mAP_50"], abs=1e-9)


def test_wrong_input_is_named(synthetic):
    with pytest.raises(ConfigError, match="'keypoints'"):
        evaluate_coco(synthetic, [], "keypoints")
    with pytest.raises(ConfigError, match="'slow'"):
        evaluate_coco(synthetic, [], backend="slow")
    box = {"image_id": 5, "category_id": 7, "bbox": [0, 0, 9, 9], "score": 1.0}
    with pytest.raises(DataError, match="first 5"):
        evaluate_coco(synthetic, [box])
    with pytest.raises(DataError, match="image 101 has no mask"):
        evaluate_coco(synthetic, [{**box, "image_id": 101}], "segm")
    with pytest.raises(DataError, match="no segmentation"):
        evaluate_coco({**synthetic, "annotations": [{**synthetic["annotations"][0], "segmentation": []}]}, [], "segm")


def test_truth_as_polygons_and_counts(synthetic):
    """Truth as COCO's files hold it: polygons, and lists of counts for crowds."""
    for annotation in synthetic["annotations"]:
        x, y, w, h = annotation["bbox"]
        if annotation["iscrowd"]:
            flat = mask_utils.decode(annotation["segmentation"]).flatten(order="F")
            edges = np.flatnonzero(np.diff(flat, prepend=0, append=flat[-1] ^ 1))
            counts = np.diff(edges, prepend=0).tolist()
            annotation["segmentation"] = {"size": annotation["segmentation"]["size"], "counts": counts}
        else:
            halves = [[x, y, x + w / 2, y, x + w / 2, y + h, x, y + h], [x + w / 2, y, x + w, y, x + w, y + h]]
            annotation["segmentation"] = halves
    detections = perturbed(synthetic)
    expected, _ = oracle(synthetic, detections, "segm")
    assert 0.1 < expected[0] < 0.9
    np.testing.assert_allclose(
        list(evaluate_coco(synthetic, detections, "segm", "faster").values()), expected, atol=1e-12
    )


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_real_annotations(shared: Path, iou_type: str):
    """Polygons, both kinds of RLE and crowds of real images: truth scores 1, perturbed detections as pycocotools."""
    gt = json.loads((shared / "data/coco128/annotations/instances_val2017.json").read_text())
    for backend in ("faster", "pycocotools"):
        scores = evaluate_coco(gt, truth_as_detections(gt), iou_type, backend)
        assert round(scores["mAP"], 3) == 1.0
    detections = perturbed(gt)
    expected, lines = oracle(gt, detections, iou_type)
    curves = coco_curves(gt, detections, iou_type, "faster")
    np.testing.assert_allclose(list(summarise(curves).values()), expected, atol=1e-6)
    assert summary_lines(curves) == lines
