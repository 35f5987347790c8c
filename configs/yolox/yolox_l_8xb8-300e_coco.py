"""YOLOX-L on COCO, 300 epochs (arXiv:2107.08430).

    python tools/train.py configs/yolox/yolox_l_8xb8-300e_coco.py --launcher pytorch

Eight GPUs, eight images each. mmdet reports box AP 49.4. Numbers: the config of this name of open-
mmlab/mmdetection; its averaged weights (EMA) and its last 15 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/yolox.py",
    "../_base_/datasets/coco_yolox_640.py",
    "../_base_/schedules/yolox_300e.py",
]

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.0),
    neck=dict(out_channels=256, num_csp_blocks=3),
    bbox_head=dict(feat_channels=256),
)
