"""RetinaNet with ResNet-50 on COCO, 12 epochs (arXiv:1708.02002).

    python tools/train.py configs/retinanet/retinanet_r50_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 36.5. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/retinanet_fpn.py",
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
optim_wrapper = dict(optimizer=dict(lr=0.01))
