"""RTMDet-M on COCO, 300 epochs (arXiv:2212.07784).

    python tools/train.py configs/rtmdet/rtmdet_m_8xb32-300e_coco.py --launcher pytorch

Eight GPUs, 32 images each. mmdet reports box AP 49.1. Numbers: the config of this name of open-mmlab/mmdetection;
its averaged weights (EMA) and its last 20 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/rtmdet.py",
    "../_base_/datasets/coco_rtmdet_640.py",
    "../_base_/schedules/rtmdet_300e.py",
]

model = dict(
    backbone=dict(
        deepen_factor=0.67,
        widen_factor=0.75,
    ),
    neck=dict(out_channels=192, num_csp_blocks=2),
    bbox_head=dict(feat_channels=192, exp_on_reg=True),
)
