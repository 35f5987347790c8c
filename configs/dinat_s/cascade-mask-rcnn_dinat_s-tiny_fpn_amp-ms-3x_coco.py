"""Cascade Mask R-CNN with DiNAT_s-Tiny on COCO, 36 epochs at many scales (arXiv:2209.15001).

    python tools/train.py configs/dinat_s/cascade-mask-rcnn_dinat_s-tiny_fpn_amp-ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. The authors report box AP 51.0, mask AP 44.1. Numbers:
detection/configs/dinat_s/cascade_mask_rcnn_dinat_s_tiny_3x_coco.py of SHI-Labs/Neighborhood-Attention-Transformer.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_4conv1f-giou_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_3x.py",
]

weights = "https://shi-labs.com/projects/dinat/checkpoints/imagenet1k/dinat_s_tiny_in1k_224.pth"
model = dict(
    backbone=dict(
        type="DiNAT_s",
        arch="tiny",
        task="detection",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"rpb": dict(decay_mult=0.0), "norm": dict(decay_mult=0.0)}),
)
