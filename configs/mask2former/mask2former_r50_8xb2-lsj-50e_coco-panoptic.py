"""Mask2Former (arXiv:2112.01527) with ResNet-50 on COCO panoptic, 50 epochs.

    python tools/train.py configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py --launcher pytorch

Eight GPUs, two images each. mmdet reports PQ 52.0. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/mask2former_coco.py",
    "../_base_/datasets/coco_panoptic_lsj.py",
    "../_base_/schedules/mask2former_lsj_50e.py",
]

model = dict(
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
)
