"""Cascade Mask R-CNN with HorNet-T (7x7) on COCO, 36 epochs at many scales (arXiv:2207.14284).

    python tools/train.py configs/hornet/cascade-mask-rcnn_hornet-tiny-7x7_fpn_ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each. The authors report box AP 51.7, mask AP 44.8. Numbers:
object_detection/configs/hornet/cascade_mask_rcnn_hornet_tiny_7x7_3x_coco_in1k.py of raoyongming/HorNet.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_4conv1f-giou_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_3x.py",
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
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=12),
)
