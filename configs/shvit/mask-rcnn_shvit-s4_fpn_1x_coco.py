"""Mask R-CNN with SHViT-S4 on COCO, 12 epochs (arXiv:2401.16456).

    python tools/train.py configs/shvit/mask-rcnn_shvit-s4_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. The authors report box AP 39.0, mask AP 35.9. Numbers:
downstream/configs/mask_rcnn_shvit_s4_fpn_1x_coco.py of ysj9909/SHViT, whose backbone keeps the running statistics of
batch normalisation.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

weights = "https://github.com/ysj9909/SHViT/releases/download/v1.0/shvit_s4.pth"
model = dict(
    backbone=dict(type="SHViT", arch="s4", norm_eval=True, init_cfg=dict(type="Pretrained", checkpoint=weights)),
    neck=dict(_delete_=True, type="EfficientViTFPN", out_channels=256, num_outs=5, num_extra_trans_convs=2),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
)
