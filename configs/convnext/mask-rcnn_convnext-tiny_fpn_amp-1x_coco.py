"""Mask R-CNN with ConvNeXt-T on COCO, 12 epochs; ours: the authors train 36 (arXiv:2201.03545).

    python tools/train.py configs/convnext/mask-rcnn_convnext-tiny_fpn_amp-1x_coco.py --launcher pytorch

Eight GPUs, two images each, mixed precision. Score: not measured (theirs after 36 epochs at many scales: box AP 46.2,
mask AP 41.7). Numbers of the optimiser and drop path:
object_detection/configs/convnext/mask_rcnn_convnext_tiny_patch4_window7_mstrain_480-800_adamw_3x_coco_in1k.py of
facebookresearch/ConvNeXt.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
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
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=6),
)
