"""Panoptic maps and objects of one run, each scored by its metric, as Mask2Former's panoptic configs have it."""

import re
from pathlib import Path

import torch

DEMO = Path(__file__).resolve().parent.parent.parent / "demo"
CONFIG = """
custom_imports = dict(imports=["toy"])
model = dict(type="ToyPanopticOracle")
test_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoPanopticDataset",
        test_mode=True,
        data_root=ROOT,
        ann_file="annotations/panoptic.json",
        data_prefix=dict(img="images", seg="annotations/panoptic"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadPanopticAnnotations"),
            dict(type="PackInputs"),
        ],
    ),
)
root = ROOT + "/annotations"
test_evaluator = [
    dict(type="CocoPanopticMetric", ann_file=f"{root}/panoptic.json", seg_prefix=f"{root}/panoptic"),
    dict(type="CocoMetric", ann_file=f"{root}/instances.json", metric=["bbox", "segm"], classwise=True),
]
"""


def test_both_metrics_score_the_same_run(foveal_command, tmp_path):
    (tmp_path / "config.py").write_text(CONFIG.replace("ROOT", repr(str(DEMO))))
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "oracle.pth")
    done = foveal_command("test", tmp_path / "config.py", tmp_path / "oracle.pth", "--work-dir", tmp_path / "work")
    scores = {name: float(value) for name, value in re.findall(r"(coco\w*/\w+): ([\d.-]+)", done.stdout + done.stderr)}
    # the objects are the truth; a quarter of every map is left out, so segments are missed or cut
    assert scores["coco/bbox_mAP"] > 0.95 and scores["coco/segm_mAP"] > 0.9
    assert 20 < scores["coco_panoptic/PQ"] < 95 and 20 < scores["coco_panoptic/PQ_st"] < 95
    assert scores["coco_panoptic/PQ"] < scores["coco_panoptic/SQ"]
