"""Detectors that learn eight real pictures by heart: the whole path from files to average precision works."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.dataset import pseudo_collate

from foveal.data import CocoDataset
from foveal.registry import METRICS
from tests.models.small_detectors import small_detector

IMAGES, SIDE = 8, 192
# name: iterations
DETECTORS = {"retinanet/retinanet_r18_fpn_1x_coco": 150, "mask_rcnn/mask-rcnn_r50_fpn_1x_coco": 150}


@pytest.fixture(scope="module")
def truth(shared, tmp_path_factory):
    """The annotations of eight images."""
    content = json.loads((shared / "data/coco128/annotations/instances_train2017.json").read_text())
    content["images"] = content["images"][:IMAGES]
    chosen = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in chosen]
    path = tmp_path_factory.mktemp("coco") / "eight.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture(scope="module")
def dataset(shared, truth):
    return CocoDataset(
        ann_file=truth,
        data_prefix={"img": str(shared / "data/coco128/train2017")},
        pipeline=[
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
            {"type": "Resize", "scale": (SIDE, SIDE), "keep_ratio": False},
            {"type": "PackInputs"},
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_eight_pictures_are_learnt_by_heart(name, dataset, truth):
    torch.manual_seed(0)
    # weights are random: there is nothing to freeze
    model = small_detector(name, narrow=True, frozen_stages=-1, norm_eval=False)
    samples = [dataset[i] for i in range(IMAGES)]
    batch = pseudo_collate(samples)
    steps = DETECTORS[name]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for _ in range(steps):
        given = {**batch, "data_samples": [s.clone() for s in batch["data_samples"]]}
        loss, _ = model.parse_losses(model(**model.data_preprocessor(given, True), mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()

    kinds = ["bbox", "segm"] if "mask" in name else ["bbox"]
    metric = METRICS.build({"type": "CocoMetric", "ann_file": truth, "metric": kinds})
    metric.dataset_meta = dataset.metainfo
    model.eval()
    with torch.no_grad():
        metric.process({}, [s.to_dict() for s in model.test_step(batch)])
    scores = metric.evaluate(IMAGES)
    print(f"{name}: loss {loss.item():.3f}, {scores}")
    for kind in kinds:
        assert scores[f"coco/{kind}_mAP_50"] >= 0.7
