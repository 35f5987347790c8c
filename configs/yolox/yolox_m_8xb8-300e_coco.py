"""YOLOX-M on COCO, 300 epochs (arXiv:2107.08430).

    python tools/train.py configs/yolox/yolox_m_8xb8-300e_coco.py --launcher pytorch

Eight GPUs, eight images each. Score: not measured; mmdet reports none. Numbers: the config of this name of open-
mmlab/mmdetection; its averaged weights (EMA) and its last 15 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/yolox.py",
    "../_base_/datasets/coco_yolox_640.py",
    "../_base_/schedules/yolox_300e.py",
]

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75),
    neck=dict(out_channels=192, num_csp_blocks=2),
    bbox_head=dict(feat_channels=192),
)
