"""RetinaNet with ConvNeXt-T on COCO, 12 epochs; ours, not the authors', who trained Mask R-CNN (arXiv:2201.03545).

    python tools/train.py configs/convnext/retinanet_convnext-tiny_fpn_amp-1x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. Score: not measured. Numbers of the optimiser and drop path:
object_detection/configs/convnext/mask_rcnn_convnext_tiny_patch4_window7_mstrain_480-800_adamw_3x_coco_in1k.py of
facebookresearch/ConvNeXt, which trains for 36 epochs at many scales.
"""

_base_ = [
    "../_base_/models/retinanet_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(
        type="ConvNeXt",
        arch="tiny",
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        out_indices=(1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth"),
    ),
    neck=dict(start_level=0),
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="LearningRateDecayOptimizerConstructor",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=6),
)
