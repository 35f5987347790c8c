"""YOLOX-tiny on COCO, 300 epochs (arXiv:2107.08430).

    python tools/train.py configs/yolox/yolox_tiny_8xb8-300e_coco.py --launcher pytorch

Eight GPUs, eight images each. mmdet reports box AP 32.0. Numbers: the config of this name of open-
mmlab/mmdetection; its averaged weights (EMA) and its last 15 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/yolox.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/yolox_300e.py",
]

model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchSyncRandomResize", random_size_range=(320, 640), size_divisor=32, interval=10)]
    ),
    backbone=dict(deepen_factor=0.33, widen_factor=0.375),
    neck=dict(out_channels=96, num_csp_blocks=1),
    bbox_head=dict(feat_channels=96),
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
