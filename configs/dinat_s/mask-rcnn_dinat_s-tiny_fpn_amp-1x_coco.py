"""Mask R-CNN with DiNAT_s-Tiny on COCO, 12 epochs; ours: the authors train 36 (arXiv:2209.15001).

    python tools/train.py configs/dinat_s/mask-rcnn_dinat_s-tiny_fpn_amp-1x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. Score: not measured. Numbers of the optimiser and drop path: those of
configs/dinat/mask-rcnn_dinat-tiny_fpn_amp-1x_coco.py.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(backbone=dict(type="DiNAT_s", arch="tiny", task="detection", drop_path_rate=0.2))
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
