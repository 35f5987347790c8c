"""Instance masks from a detector to COCO's scores and to the file of ``foveal test --out``."""

import json
import re
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

DEMO = Path(__file__).resolve().parent.parent.parent / "demo"
CONFIG = """
custom_imports = dict(imports=["toy"])
model = dict(type="ToyOracle")
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoDataset",
        test_mode=True,
        ann_file=ANNOTATIONS,
        data_prefix=dict(img=IMAGES),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="PackInputs"),
        ],
    ),
)
test_evaluator = dict(type="CocoMetric", ann_file=ANNOTATIONS, metric=["bbox", "segm"])
"""


def two_images():
    content = json.loads((DEMO / "annotations" / "instances.json").read_text())
    kept = {30, 71}
    content["images"] = [image for image in content["images"] if image["id"] in kept]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    return content


def test_saved_masks_score_as_printed(foveal_command, tmp_path):
    annotations, out = tmp_path / "annotations.json", tmp_path / "out.json"
    annotations.write_text(json.dumps(two_images()))
    (tmp_path / "config.py").write_text(
        CONFIG.replace("ANNOTATIONS", repr(str(annotations))).replace("IMAGES", repr(str(DEMO / "images")))
    )
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "oracle.pth")
    words = ("test", tmp_path / "config.py", tmp_path / "oracle.pth", "--work-dir", tmp_path / "work", "--out", out)
    done = foveal_command(*words)
    truth = COCO(str(annotations))
    found = truth.loadRes(str(out))
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        for name, score in (("mAP", evaluation.stats[0]), ("mAP_50", evaluation.stats[1])):
            printed = re.search(rf"coco/{kind}_{name}: ([\d.]+)", done.stdout + done.stderr)
            assert float(printed[1]) == pytest.approx(score, abs=5e-4)
        # not all right and not all wrong, or the two would agree whatever was written
        assert 0.1 < evaluation.stats[0] < 0.9
