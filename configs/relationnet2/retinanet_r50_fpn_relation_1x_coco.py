"""RelationNet++ on RetinaNet with ResNet-50 on COCO, 12 epochs (arXiv:2010.15831).

    python tools/train.py configs/relationnet2/retinanet_r50_fpn_relation_1x_coco.py --launcher pytorch

Eight GPUs, two images each. The paper's abstract reports 1.5 to 3.0 AP more than the detector alone. Numbers:
``configs/bvr/retinanet_r50_fpn_relation_coco_1x.py`` of microsoft/RelationNet2.
"""

_base_ = [
    "../_base_/models/retinanet_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    type="BVR",
    backbone=dict(
        type="ResNet",
        depth=50,
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    neck=dict(norm_cfg=dict(type="GN", num_groups=32, requires_grad=True)),
    bbox_head=dict(
        _delete_=True,
        type="BVRHead",
        bbox_head_cfg=dict(
            type="RetinaHead",
            num_classes=80,
            stacked_convs=4,
            feat_channels=256,
            anchor_generator=dict(
                type="AnchorGenerator",
                octave_base_scale=4,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=[8, 16, 32, 64, 128],
            ),
            bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
            loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
            norm_cfg=dict(type="GN", num_groups=32, requires_grad=True),
        ),
        keypoint_pos="input",
        keypoint_head_cfg=dict(
            type="KeypointHead",
            num_classes=80,
            stacked_convs=2,
            strides=[8, 16, 32, 64, 128],
            logits_convs=1,
            loss_offset=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
            loss_cls=dict(type="GaussianFocalLoss", loss_weight=0.25),
            norm_cfg=dict(type="GN", num_groups=32, requires_grad=True),
        ),
        keypoint_cfg=dict(max_keypoint_num=20),
        feature_selection_cfg=dict(cross_level_topk=50, cross_level_selection=True),
        num_attn_heads=8,
        scale_position=False,
        pos_cfg=dict(base_size=[400, 400], log_scale=True),
    ),
    train_cfg=dict(
        _delete_=True,
        bbox=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            allowed_border=-1,
            pos_weight=-1,
        ),
        keypoint=dict(assigner=dict(type="PointKptAssigner")),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
