"""Mask R-CNN with NAT-Tiny on COCO, 12 epochs; ours: the authors train 36 (arXiv:2204.07143).

    python tools/train.py configs/nat/mask-rcnn_nat-tiny_fpn_amp-1x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. Score: not measured. Numbers of the optimiser and drop path: those of
configs/dinat/mask-rcnn_dinat-tiny_fpn_amp-1x_coco.py, a network of the same widths and depths by the same authors.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

weights = "https://shi-labs.com/projects/nat/checkpoints/CLS/nat_tiny.pth"
model = dict(
    backbone=dict(type="NAT", arch="tiny", drop_path_rate=0.2, init_cfg=dict(type="Pretrained", checkpoint=weights)),
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            "rpb": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        },
    ),
)
