"""YOLOX-M on COCO, 300 epochs (arXiv:2107.08430).

    python tools/train.py configs/yolox/yolox_m_8xb8-300e_coco.py --launcher pytorch

Eight GPUs, eight images each. Score: not measured; mmdet reports none. Numbers: the config of this name of open-
mmlab/mmdetection; its averaged weights (EMA) and its last 15 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/yolox.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/yolox_300e.py",
]

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75),
    neck=dict(out_channels=192, num_csp_blocks=2),
    bbox_head=dict(feat_channels=192),
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
            dict(type="RandomAffine", scaling_ratio_range=(0.1, 2), border=(-320, -320)),
            dict(type="MixUp", img_scale=(640, 640), ratio_range=(0.8, 1.6), pad_val=114.0),
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
            dict(type="Resize", scale=(640, 640), keep_ratio=True),
            dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackInputs"),
        ]
    ),
)
test_dataloader = val_dataloader
