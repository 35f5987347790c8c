"""Mask R-CNN with EfficientViM-M4 on COCO, 12 epochs (arXiv:2411.15241).

    python tools/train.py configs/efficientvim/mask-rcnn_efficientvim-m4_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. The authors report box AP 39.7, mask AP 36.4. Numbers:
detection/configs/mask_rcnn_efficientvim_fpn_1x_coco.py of mlvlab/EfficientViM, whose backbone keeps the running
statistics of batch normalisation. The weights lie behind a page that a program cannot download from, the table of its
README: put EfficientViM_M4_e450.pth into checkpoints/.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(
        type="EfficientViM",
        arch="m4",
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="checkpoints/EfficientViM_M4_e450.pth"),
    ),
    neck=dict(
        _delete_=True, type="EfficientViTFPN", out_channels=256, num_outs=5, num_extra_trans_convs=2, pre_norm=True
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
)
