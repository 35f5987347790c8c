"""Cascade Mask R-CNN with Swin-Tiny on COCO, 36 epochs at many scales (arXiv:2103.14030).

    python tools/train.py configs/swin/cascade-mask-rcnn_swin-tiny_fpn_amp-ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. The authors report box AP 50.4, mask AP 43.7. Numbers:
configs/swin/cascade_mask_rcnn_swin_tiny_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco.py of
SwinTransformer/Swin-Transformer-Object-Detection.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_4conv1f-giou_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_3x.py",
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
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        },
    ),
)
