"""Conditional DETR with ResNet-50 on COCO, 50 epochs (arXiv:2108.06152).

    python tools/train.py configs/conditional_detr/conditional-detr_r50_8xb2-50e_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 40.9. Numbers: the config of this name of open-mmlab/mmdetection;
its crops come from images of at most 1333 pixels, ours from images of any length, which differs for few.
"""

_base_ = [
    "../_base_/models/detr.py",
    "../_base_/datasets/coco_detr.py",
    "../_base_/schedules/detr_50e.py",
]

ffn = dict(embed_dims=256, feedforward_channels=2048, num_fcs=2, ffn_drop=0.1, act_cfg=dict(type="ReLU", inplace=True))
model = dict(
    type="ConditionalDETR",
    num_queries=300,
    backbone=dict(out_indices=(3,)),
    neck=dict(norm_cfg=None, num_outs=1),
    encoder=dict(
        num_layers=6,
        layer_cfg=dict(self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.1, batch_first=True), ffn_cfg=ffn),
    ),
    decoder=dict(
        num_layers=6,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, attn_drop=0.1, cross_attn=False),
            cross_attn_cfg=dict(embed_dims=256, num_heads=8, attn_drop=0.1, cross_attn=True),
            ffn_cfg=ffn,
        ),
        return_intermediate=True,
    ),
    positional_encoding=dict(num_feats=128, normalize=True),
    bbox_head=dict(type="ConditionalDETRHead", embed_dims=256),
)
