"""Cascade Mask R-CNN with ResNet-50 on COCO, 12 epochs (arXiv:1906.09756).

    python tools/train.py configs/cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 41.2, mask AP 35.9. Numbers: the config of this name of
open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(
        type="ResNet",
        depth=50,
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
)
