"""RetinaNet with MobileNetV2 on COCO, 12 epochs; ours: mmdet has it with SSDLite and YOLOv3 (arXiv:1801.04381).

    python tools/train.py configs/mobilenet_v2/retinanet_mobilenet-v2_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. Numbers: those of mmdet's RetinaNet with ResNet-18.
"""

_base_ = [
    "../_base_/models/retinanet_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(
        type="MobileNetV2",
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://mobilenet_v2"),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
