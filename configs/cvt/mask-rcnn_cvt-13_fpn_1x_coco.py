"""Mask R-CNN with CvT-13 on COCO, 12 epochs; ours: the authors trained no detector (arXiv:2103.15808).

    python tools/train.py configs/cvt/mask-rcnn_cvt-13_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. Numbers of the optimiser: those of Swin-T's Mask R-CNN,
configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py of open-mmlab/mmdetection. The weights lie behind a page that a
program cannot download from, the model zoo in the README of microsoft/CvT: put the file into checkpoints/.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(
        type="CvT",
        arch="13",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint="checkpoints/CvT-13-224x224-IN-1k.pth"),
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"cls_token": dict(decay_mult=0.0), "norm": dict(decay_mult=0.0)}),
)
