"""DINO with four feature maps and ResNet-50 on COCO, 12 epochs (arXiv:2203.03605).

    python tools/train.py configs/dino/dino-4scale_r50_8xb2-12e_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 49.0. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/detr.py",
    "../_base_/datasets/coco_detr.py",
    "../_base_/schedules/detr_50e.py",
]

ffn = dict(embed_dims=256, feedforward_channels=2048, ffn_drop=0.0)
deformable = dict(embed_dims=256, num_levels=4, dropout=0.0)
model = dict(
    type="DINO",
    num_queries=900,
    with_box_refine=True,
    as_two_stage=True,
    encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=6,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.0), cross_attn_cfg=deformable, ffn_cfg=ffn
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=128, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(type="DINOHead", sync_cls_avg_factor=True, loss_cls=dict(loss_weight=1.0)),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100),
    ),
    test_cfg=dict(max_per_img=300),
)
train_cfg = dict(max_epochs=12)
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[11], gamma=0.1)]
