"""Cascade Mask R-CNN with NAT-Tiny on COCO, 36 epochs at many scales (arXiv:2204.07143).

    python tools/train.py configs/nat/cascade-mask-rcnn_nat-tiny_fpn_amp-ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. The authors report box AP 51.4, mask AP 44.5. Numbers:
detection/configs/nat/cascade_mask_rcnn_nat_tiny_3x_coco.py of SHI-Labs/Neighborhood-Attention-Transformer.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_4conv1f-giou_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_3x.py",
]

weights = "https://shi-labs.com/projects/nat/checkpoints/CLS/nat_tiny.pth"
model = dict(
    backbone=dict(type="NAT", arch="tiny", drop_path_rate=0.3, init_cfg=dict(type="Pretrained", checkpoint=weights)),
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"rpb": dict(decay_mult=0.0), "norm": dict(decay_mult=0.0)}),
)
