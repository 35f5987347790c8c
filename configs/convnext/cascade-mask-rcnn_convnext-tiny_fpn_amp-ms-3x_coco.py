"""Cascade Mask R-CNN with ConvNeXt-T on COCO, 36 epochs at many scales (arXiv:2201.03545).

    python tools/train.py configs/convnext/cascade-mask-rcnn_convnext-tiny_fpn_amp-ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. The authors report box AP 50.4, mask AP 43.7. Numbers:
object_detection/configs/convnext/cascade_mask_rcnn_convnext_tiny_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco_in1k.py
of facebookresearch/ConvNeXt.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_4conv1f-giou_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_3x.py",
]

model = dict(
    backbone=dict(
        type="ConvNeXt",
        arch="tiny",
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(type="Pretrained", checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth"),
    ),
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="LearningRateDecayOptimizerConstructor",
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.7, decay_type="layer_wise", num_layers=6),
)
