"""FemtoDet (width 1) on COCO, the second of its four stages (arXiv:2301.06719).

    python tools/train.py configs/femtodet/femtodet_large_coco.py --launcher pytorch

Score: not measured. Numbers: ``configs/femtoDet_large_coco/femtodet_large_coco_1stage.py`` of yh-pengtu/FemtoDet, with
YOLOX's schedule and colours. The paper's smallest network has ``widen_factor=0.25`` and 20 classes: 68.77k parameters.
"""

_base_ = ["../_base_/datasets/coco_detection.py", "../_base_/schedules/yolox_300e.py"]

model = dict(
    type="FemtoDet",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.82, 58.82, 58.82],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        batch_augments=[dict(type="BatchSyncRandomResize", random_size_range=(320, 640), size_divisor=32)],
    ),
    backbone=dict(type="FemtoNet", widen_factor=1.0, diff_conv=True, out_indices=(2, 4, 6), act_cfg=dict(type="ReLU")),
    neck=dict(
        type="SharedNeck",
        out_channels=64,
        fixed_size_idx=1,
        add=True,
        norm_cfg=dict(type="BN"),
        act_cfg=dict(type="ReLU"),
        num_outs=1,
    ),
    bbox_head=dict(
        type="SharedDetHead",
        num_classes=80,
        feat_channels=64,
        strides=[16],
        stacked_convs=0,
        act_cfg=dict(type="ReLU"),
        use_depthwise=True,
    ),
    train_cfg=dict(assigner=dict(type="SimOTAAssigner", center_radius=2.5)),
    test_cfg=dict(score_thr=0.01, nms=dict(type="nms", iou_threshold=0.65)),
)
train_dataloader = dict(
    batch_size=8,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type="MultiImageMixDataset",
        dataset=dict(
            type="CocoDataset",
            data_root="data/coco",
            ann_file="annotations/instances_train2017.json",
            data_prefix=dict(img="train2017"),
            filter_cfg=dict(filter_empty_gt=False, min_size=32),
            pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)],
        ),
        pipeline=[
            dict(type="Mosaic", img_scale=(640, 640), pad_val=114.0),
            dict(type="RandomAffine", scaling_ratio_range=(0.5, 1.5), border=(-320, -320)),
            dict(type="YOLOXHSVRandomAug"),
            dict(type="RandomFlip", prob=0.5),
            dict(type="Resize", scale=(640, 640), keep_ratio=True),
            dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
            dict(type="FilterAnnotations", min_gt_bbox_wh=(1, 1), keep_empty=False),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(416, 416), keep_ratio=True),
            dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackInputs"),
        ]
    ),
)
test_dataloader = val_dataloader
