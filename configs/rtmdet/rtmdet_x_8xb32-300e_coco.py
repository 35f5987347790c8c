"""RTMDet-X on COCO, 300 epochs (arXiv:2212.07784).

    python tools/train.py configs/rtmdet/rtmdet_x_8xb32-300e_coco.py --launcher pytorch

Eight GPUs, 32 images each. mmdet reports box AP 52.6. Numbers: the config of this name of open-mmlab/mmdetection;
its averaged weights (EMA) and its last 20 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/rtmdet.py",
    "../_base_/datasets/coco_rtmdet_640.py",
    "../_base_/schedules/rtmdet_300e.py",
]

model = dict(
    backbone=dict(
        deepen_factor=1.33,
        widen_factor=1.25,
    ),
    neck=dict(out_channels=320, num_csp_blocks=4),
    bbox_head=dict(feat_channels=320, exp_on_reg=True),
)
