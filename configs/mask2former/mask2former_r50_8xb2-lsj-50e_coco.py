"""Mask2Former (arXiv:2112.01527) with ResNet-50 on COCO instances, 50 epochs.

    python tools/train.py configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 45.7, mask AP 42.9. Numbers: the config of this name of
open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/models/mask2former_coco.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/mask2former_lsj_50e.py",
]

model = dict(
    data_preprocessor=dict(batch_augments=[dict(type="BatchFixedSizePad", size=(1024, 1024), pad_mask=True)]),
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    panoptic_head=dict(num_stuff_classes=0, loss_cls=dict(class_weight=[1.0] * 80 + [0.1])),
    panoptic_fusion_head=dict(num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False),
)
