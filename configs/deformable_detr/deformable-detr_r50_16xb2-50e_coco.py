"""Deformable DETR with ResNet-50 on COCO, 50 epochs (arXiv:2010.04159).

    python tools/train.py configs/deformable_detr/deformable-detr_r50_16xb2-50e_coco.py --launcher pytorch

Sixteen GPUs, two images each. mmdet reports box AP 44.3. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/detr.py",
    "../_base_/datasets/coco_detr.py",
    "../_base_/schedules/detr_50e.py",
]

ffn = dict(embed_dims=256, feedforward_channels=1024, ffn_drop=0.1)
deformable = dict(embed_dims=256, batch_first=True)
model = dict(
    type="DeformableDETR",
    num_queries=300,
    num_feature_levels=4,
    with_box_refine=False,
    as_two_stage=False,
    encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=6,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.1, batch_first=True),
            cross_attn_cfg=deformable,
            ffn_cfg=ffn,
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=128, normalize=True, offset=-0.5),
    bbox_head=dict(type="DeformableDETRHead", sync_cls_avg_factor=True),
)
optim_wrapper = dict(
    optimizer=dict(lr=0.0002),
    paramwise_cfg=dict(custom_keys=dict(sampling_offsets=dict(lr_mult=0.1), reference_points=dict(lr_mult=0.1))),
)
auto_scale_lr = dict(base_batch_size=32)
