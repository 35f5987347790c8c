"""RTMDet-tiny on COCO, 300 epochs (arXiv:2212.07784).

    python tools/train.py configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py --launcher pytorch

Eight GPUs, 32 images each. mmdet reports box AP 40.9. Numbers: the config of this name of open-mmlab/mmdetection;
its averaged weights (EMA) and its last 20 epochs without Mosaic are hooks.
"""

_base_ = [
    "../_base_/models/rtmdet.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/rtmdet_300e.py",
]

model = dict(
    backbone=dict(
        deepen_factor=0.167,
        widen_factor=0.375,
        init_cfg=dict(
            type="Pretrained",
            prefix="backbone.",
            checkpoint="https://download.openmmlab.com/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain/"
            "cspnext-tiny_imagenet_600e.pth",
        ),
    ),
    neck=dict(out_channels=96, num_csp_blocks=1),
    bbox_head=dict(feat_channels=96, exp_on_reg=False),
)
train_dataloader = dict(
    batch_size=32,
    num_workers=10,
    batch_sampler=None,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="CachedMosaic", img_scale=(640, 640), pad_val=114.0, max_cached_images=20, random_pop=False),
            dict(type="RandomResize", scale=(1280, 1280), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(640, 640)),
            dict(type="YOLOXHSVRandomAug"),
            dict(type="RandomFlip", prob=0.5),
            dict(type="Pad", size=(640, 640), pad_val=dict(img=(114, 114, 114))),
            dict(
                type="CachedMixUp",
                img_scale=(640, 640),
                ratio_range=(1.0, 1.0),
                pad_val=(114, 114, 114),
                max_cached_images=10,
                random_pop=False,
                prob=0.5,
            ),
            dict(type="PackInputs"),
        ]
    ),
)
val_dataloader = dict(
    batch_size=5,
    num_workers=10,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(640, 640), keep_ratio=True),
            dict(type="Pad", size=(640, 640), pad_val=dict(img=(114, 114, 114))),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackInputs"),
        ]
    ),
)
test_dataloader = val_dataloader
