"""Mask R-CNN with MiT-B0 on COCO, 12 epochs; ours: the authors train no detector (arXiv:2105.15203).

    python tools/train.py configs/mit/mask-rcnn_mit-b0_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. The optimiser is that of Mask R-CNN with Swin-Tiny.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

weights = "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth"
model = dict(
    backbone=dict(
        type="MixVisionTransformer",
        embed_dims=32,
        num_layers=(2, 2, 2, 2),
        num_heads=(1, 2, 5, 8),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            "norm": dict(decay_mult=0.0),
        },
    ),
)
