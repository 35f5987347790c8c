"""CocoMetric as the runner uses it: samples in, named scores, tables and files out."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from pycocotools import mask as mask_utils

from foveal.errors import ConfigError, DataError
from foveal.evaluation.coco_dump import detections_to_json, encode_masks
from foveal.evaluation.coco_eval import evaluate_coco
from foveal.registry import METRICS
from foveal.structures import DataSample
from tests.evaluation.conftest import HEIGHT, WIDTH, perturbed

CLASSES = ["bird", "cat", "dog"]  # not the order of the file
CAT_IDS = [30, 7, 2]


@pytest.fixture
def log(monkeypatch):
    """The lines that the metric logs."""
    lines = []
    logger = MMLogger.get_instance("test_coco_metric")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    monkeypatch.setattr(MMLogger, "get_current_instance", classmethod(lambda cls: logger))
    yield lines
    logger.removeHandler(handler)


def samples_of(gt: dict, detections: list[dict], with_masks: bool = True) -> list[DataSample]:
    """What a detector returns for each image."""
    samples = []
    for image in gt["images"]:
        mine = [d for d in detections if d["image_id"] == image["id"]]
        boxes = torch.tensor([d["bbox"] for d in mine], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = InstanceData(
            bboxes=boxes,
            scores=torch.tensor([d["score"] for d in mine], dtype=torch.float64),
            labels=torch.tensor([CAT_IDS.index(d["category_id"]) for d in mine], dtype=torch.int64),
        )
        if with_masks:
            masks = [torch.from_numpy(mask_utils.decode(d["segmentation"])).bool() for d in mine]
            instances.masks = torch.stack(masks) if masks else torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)
        sample = DataSample(metainfo={"img_id": image["id"]})
        sample.pred_instances = instances
        samples.append(sample)
    return samples


def run(metric, samples: list[DataSample], batch: int = 5) -> dict[str, float]:
    metric.dataset_meta = {"classes": CLASSES}
    for start in range(0, len(samples), batch):
        metric.process(None, [sample.to_dict() for sample in samples[start : start + batch]])
    return metric.evaluate(len(samples))


@pytest.fixture
def ann_file(synthetic, tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(synthetic))
    return str(path)


def build(ann_file, **kwargs):
    return METRICS.build({"type": "CocoMetric", "ann_file": ann_file, **kwargs})


def test_scores_by_mmdets_names(synthetic, ann_file, log):
    detections = perturbed(synthetic)
    scores = run(
        build(ann_file, metric=["bbox", "segm"], proposal_nums=(1, 10, 100)), samples_of(synthetic, detections)
    )
    for kind in ("bbox", "segm"):
        expected = evaluate_coco(synthetic, detections, kind)
        for item in ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"):
            assert scores[f"coco/{kind}_{item}"] == pytest.approx(expected[item], abs=1e-6)
    assert len(scores) == 12
    summary = next(line for line in log if line.startswith("COCO bbox:"))
    assert len(summary.splitlines()) == 13
    assert " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = " in summary


def test_recalls_on_request(synthetic, ann_file, log):
    scores = run(
        build(ann_file, metric_items=["mAP", "AR@300", "AR_s@1000"]), samples_of(synthetic, perturbed(synthetic))
    )
    assert list(scores) == ["coco/bbox_mAP", "coco/bbox_AR@300", "coco/bbox_AR_s@1000"]


def test_table_by_class_keeps_the_data_sets_order(synthetic, ann_file, log):
    detections = perturbed(synthetic)
    scores = run(build(ann_file, classwise=True), samples_of(synthetic, detections))
    table = next(line for line in log if "by class" in line)
    assert [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("| ")][1:] == CLASSES
    only_dogs = {**synthetic, "annotations": [a for a in synthetic["annotations"] if a["category_id"] == 2]}
    expected = evaluate_coco(only_dogs, [d for d in detections if d["category_id"] == 2], max_dets=(100, 300, 1000))
    assert scores["coco/bbox_dog_precision"] == pytest.approx(expected["mAP"], abs=1e-6)


def test_nothing_detected(synthetic, ann_file, log):
    scores = run(build(ann_file, metric=["bbox", "segm"], classwise=True), samples_of(synthetic, []))
    assert scores["coco/bbox_mAP"] == scores["coco/segm_mAP"] == 0.0
    assert any("detected nothing" in line for line in log)


def test_unseen_images_are_counted_and_said(synthetic, ann_file, log):
    run(build(ann_file), samples_of(synthetic, perturbed(synthetic))[:4])
    assert any(line.startswith("8 of 12 images") for line in log)


def test_writes_results_that_pycocotools_reads(synthetic, ann_file, tmp_path, log):
    detections = perturbed(synthetic)
    metric = build(ann_file, metric=["bbox", "segm"], format_only=True, outfile_prefix=str(tmp_path / "out" / "r"))
    assert run(metric, samples_of(synthetic, detections)) == {}
    for kind, key in (("bbox", "bbox"), ("segm", "segmentation")):
        written = json.loads((tmp_path / "out" / f"r.{kind}.json").read_text())
        assert len(written) == len(detections) and all(
            set(d) == {"image_id", "category_id", "score", key} for d in written
        )
        assert evaluate_coco(synthetic, written, kind)["mAP"] == pytest.approx(
            evaluate_coco(synthetic, detections, kind)["mAP"], abs=1e-6
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metric": "keypoints"}, "'keypoints'"),
        ({"backend": "slow"}, "'slow'"),
        ({"proposal_nums": (100,)}, "three limits"),
        ({"format_only": True}, "outfile_prefix"),
        ({"metric_items": ["AR@10"]}, "AR@10; known are mAP, .*AR@100"),
    ],
)
def test_wrong_arguments(ann_file, arguments, said):
    with pytest.raises(ConfigError, match=said):
        build(ann_file, **arguments)


@pytest.mark.parametrize("classes", [["cat", "dogg", "bird"], []])
def test_other_classes_than_the_file(synthetic, ann_file, classes):
    metric = build(ann_file)
    metric.dataset_meta = {"classes": classes}
    with pytest.raises(ConfigError) as error:
        metric.process(None, [samples_of(synthetic, [])[0].to_dict()])
    if classes:
        assert "dogg" in str(error.value) and "['cat', 'dog', 'bird']" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("{", "not JSON"), ('{"images": []}', "categories, annotations")]
)
def test_bad_annotation_file(tmp_path, content, said):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=said):
        build(str(path))


def test_detections_are_plain_and_exact():
    masks = torch.zeros(1, 6, 8, dtype=torch.bool)
    masks[0, 1:4, 2:7] = True
    instances = {
        "bboxes": torch.tensor([[2.0, 1.0, 7.0, 4.0]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
        "masks": masks,
    }
    (found,) = json.loads(json.dumps(detections_to_json([{"img_id": 9, "pred_instances": instances}], CAT_IDS)))
    assert (found["image_id"], found["category_id"], found["bbox"], found["score"]) == (9, 7, [2, 1, 5, 3], 0.5)
    assert np.array_equal(mask_utils.decode(found["segmentation"]), masks[0].numpy())
    assert encode_masks([{"size": (6, 8), "counts": found["segmentation"]["counts"].encode()}]) == [
        found["segmentation"]
    ]
