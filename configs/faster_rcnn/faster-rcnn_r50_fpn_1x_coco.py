"""Faster R-CNN with ResNet-50 on COCO, 12 epochs (arXiv:1506.01497).

    python tools/train.py configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 37.4. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/faster-rcnn_fpn.py",
    "../_base_/datasets/coco_detection.py",
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
