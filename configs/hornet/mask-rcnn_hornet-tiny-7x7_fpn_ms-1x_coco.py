"""Mask R-CNN with HorNet-T (7x7) on COCO, 12 epochs at many scales; ours for this size (arXiv:2207.14284).

    python tools/train.py configs/hornet/mask-rcnn_hornet-tiny-7x7_fpn_ms-1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured; the authors have this schedule for HorNet-S. Numbers:
object_detection/configs/horfpn/fpn_mask_rcnn_hornet_small_7x7_1x_coco_in1k.py of raoyongming/HorNet, with the drop path
of their Cascade Mask R-CNN of this size.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(
        type="HorNet",
        arch="tiny_7x7",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint="https://cloud.tsinghua.edu.cn/f/762f05c3c8cd4743b534/?dl=1"),
    ),
)
optim_wrapper = dict(
    constructor="LearningRateDecayOptimizerConstructorHorNet",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=6),
)
