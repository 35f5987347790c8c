"""Mask R-CNN with InceptionNeXt-T on COCO, 12 epochs; ours: the authors trained no detector (arXiv:2303.16900).

    python tools/train.py configs/inceptionnext/mask-rcnn_inceptionnext-tiny_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. Numbers: those of ConvNeXt-T's Mask R-CNN beside this one, with half
the drop path for the shorter schedule and the running statistics of batch normalisation kept.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

weights = "https://github.com/sail-sg/inceptionnext/releases/download/model/inceptionnext_tiny.pth"
model = dict(
    backbone=dict(
        type="InceptionNeXt",
        arch="tiny",
        drop_path_rate=0.2,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    constructor="LearningRateDecayOptimizerConstructor",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=6),
)
