"""SSDLite with MobileNetV2 on COCO, from nothing, 600 epochs as 120 of five (arXiv:1801.04381).

    python tools/train.py configs/ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py --launcher pytorch

Eight GPUs, 24 images each. mmdet reports box AP 21.3. Numbers: the config of this name of open-mmlab/mmdetection.
"""

_base_ = ["../_base_/datasets/coco_detection.py", "../_base_/schedules/schedule_1x.py"]

model = dict(
    type="SingleStageDetector",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        type="MobileNetV2",
        out_indices=(4, 7),
        norm_cfg=dict(type="BN", eps=0.001, momentum=0.03),
        init_cfg=dict(type="TruncNormal", layer="Conv2d", std=0.03),
    ),
    neck=dict(
        type="SSDNeck",
        out_channels=(96, 1280, 512, 256, 256, 128),
        level_strides=(2, 2, 2, 2),
        level_paddings=(1, 1, 1, 1),
        l2_norm_scale=None,
        use_depthwise=True,
        norm_cfg=dict(type="BN", eps=0.001, momentum=0.03),
        act_cfg=dict(type="ReLU6"),
        init_cfg=dict(type="TruncNormal", layer="Conv2d", std=0.03),
    ),
    bbox_head=dict(
        type="SSDHead",
        num_classes=80,
        use_depthwise=True,
        norm_cfg=dict(type="BN", eps=0.001, momentum=0.03),
        act_cfg=dict(type="ReLU6"),
        init_cfg=dict(type="Normal", layer="Conv2d", std=0.001),
        anchor_generator=dict(
            type="SSDAnchorGenerator",
            scale_major=False,
            strides=[16, 32, 64, 107, 160, 320],
            ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3]],
            min_sizes=[48, 100, 150, 202, 253, 304],
            max_sizes=[100, 150, 202, 253, 304, 320],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]),
    ),
    train_cfg=dict(
        assigner=dict(
            type="MaxIoUAssigner",
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            ignore_iof_thr=-1,
            gt_max_assign_all=False,
        ),
        sampler=dict(type="PseudoSampler"),
        smoothl1_beta=1.0,
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
    ),
    test_cfg=dict(
        nms_pre=1000, nms=dict(type="nms", iou_threshold=0.45), min_bbox_size=0, score_thr=0.02, max_per_img=200
    ),
)
train_dataloader = dict(
    batch_size=24,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=5,
        dataset=dict(
            type="CocoDataset",
            data_root="data/coco",
            ann_file="annotations/instances_train2017.json",
            data_prefix=dict(img="train2017"),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True),
                dict(type="Expand", mean=[123.675, 116.28, 103.53], to_rgb=True, ratio_range=(1, 4)),
                dict(type="MinIoURandomCrop", min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
                dict(type="Resize", scale=(320, 320), keep_ratio=False),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PhotoMetricDistortion"),
                dict(type="PackInputs"),
            ],
        ),
    ),
)
val_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(320, 320), keep_ratio=False),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackInputs"),
        ]
    ),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=120, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=0.015, weight_decay=4.0e-5))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="CosineAnnealingLR", begin=0, T_max=120, end=120, by_epoch=True, eta_min=0),
]
auto_scale_lr = dict(enable=False, base_batch_size=192)
