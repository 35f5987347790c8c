"""FCOS on a ResNet-18 of half the width, from random weights, fitted to and scored on its own photographs.

    python tools/train.py configs/demo/detector.py

Two CPU cores, 1 to 2 minutes. Box AP50 about 0.96 (wanted: 0.5) on the 21 photographs of demo/ that have one to four
objects, each at least 1% of the picture. All 80 classes are there; 26 occur. Scored on its training photographs, it
shows that the machinery works, not how good the model is.
"""

_base_ = ["../_base_/default_runtime.py"]

model = dict(
    type="FCOS",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type="ResNet", depth=18, base_channels=32, out_indices=(1, 2, 3), norm_eval=False),
    neck=dict(type="FPN", out_channels=64, num_outs=3),
    bbox_head=dict(
        type="FCOSHead",
        num_classes=80,
        feat_channels=64,
        stacked_convs=2,
        strides=(8, 16, 32),
        regress_ranges=((-1, 64), (64, 128), (128, 1e8)),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        norm_cfg=dict(type="GN", num_groups=16),
        loss_bbox=dict(type="GIoULoss"),
    ),
    test_cfg=dict(nms_pre=1000, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.6), max_per_img=100),
)

data = dict(
    type="CocoDataset",
    ann_file="demo/annotations/instances_detector.json",
    data_prefix=dict(img="demo/images"),
)
load = dict(type="LoadImageFromFile")
boxes = dict(type="LoadAnnotations", with_bbox=True)
resize = dict(type="Resize", scale=(256, 256), keep_ratio=True)
pack = dict(type="PackInputs")
train_dataloader = dict(
    batch_size=7,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(**data, pipeline=[load, boxes, resize, dict(type="RandomFlip", prob=0.5), pack]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**data, test_mode=True, pipeline=[load, resize, boxes, pack]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="CocoMetric", ann_file=data["ann_file"])
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=False, max_iters=400, val_interval=100)
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-4), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, T_max=400),
]
