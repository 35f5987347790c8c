"""Mask R-CNN with Swin-Tiny on COCO, 12 epochs (arXiv:2103.14030).

    python tools/train.py configs/swin/mask-rcnn_swin-tiny_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 42.7, mask AP 39.3. Numbers:
configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

storage = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0"
model = dict(
    backbone=dict(
        type="SwinTransformer",
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=f"{storage}/swin_tiny_patch4_window7_224.pth"),
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        },
    ),
)
