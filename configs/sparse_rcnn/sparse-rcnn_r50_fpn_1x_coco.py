"""Sparse R-CNN with ResNet-50 and 100 proposals on COCO, 12 epochs (arXiv:2011.12450).

    python tools/train.py configs/sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. mmdet reports box AP 37.9. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = [
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]

stages = 6
proposals = 100
costs = [
    dict(type="FocalLossCost", weight=2.0),
    dict(type="BBoxL1Cost", weight=5.0, box_format="xyxy"),
    dict(type="IoUCost", iou_mode="giou", weight=2.0),
]
model = dict(
    type="SparseRCNN",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    neck=dict(type="FPN", out_channels=256, start_level=0, add_extra_convs="on_input", num_outs=4),
    rpn_head=dict(type="EmbeddingRPNHead", num_proposals=proposals, proposal_feature_channel=256),
    roi_head=dict(
        type="SparseRoIHead",
        num_stages=stages,
        stage_loss_weights=[1] * stages,
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type="DIIHead",
            num_classes=80,
            loss_bbox=dict(type="L1Loss", loss_weight=5.0),
            loss_iou=dict(type="GIoULoss", loss_weight=2.0),
            loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
            bbox_coder=dict(type="DeltaXYWHBBoxCoder", clip_border=False, target_stds=[0.5, 0.5, 1.0, 1.0]),
        ),
    ),
    train_cfg=dict(rcnn=[dict(assigner=dict(type="HungarianAssigner", match_costs=costs))] * stages),
    test_cfg=dict(rcnn=dict(max_per_img=proposals)),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.000025, weight_decay=0.0001),
    clip_grad=dict(max_norm=1, norm_type=2),
)
