"""RTMDet-Ins-tiny on COCO, 300 epochs (arXiv:2212.07784).

    python tools/train.py configs/rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py --launcher pytorch

Eight GPUs, 32 images each. mmdet reports box AP 40.5, mask AP 35.4. Numbers: the config of this name of open-
mmlab/mmdetection; its averaged weights (EMA) and its last 20 epochs without Mosaic are hooks.
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
    bbox_head=dict(
        _delete_=True,
        type="RTMDetInsSepBNHead",
        num_classes=80,
        stacked_convs=2,
        share_conv=True,
        pred_kernel_size=1,
        feat_channels=96,
        act_cfg=dict(type="SiLU", inplace=True),
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        anchor_generator=dict(type="MlvlPointGenerator", offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type="DistancePointBBoxCoder"),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_mask=dict(type="DiceLoss", loss_weight=2.0, eps=5e-6, reduction="mean"),
    ),
    test_cfg=dict(
        nms_pre=1000, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.6), max_per_img=100, mask_thr_binary=0.5
    ),
)
train_dataloader = dict(
    batch_size=32,
    num_workers=10,
    batch_sampler=None,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
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
            dict(type="FilterAnnotations", min_gt_bbox_wh=(1, 1)),
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
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="PackInputs"),
        ]
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(metric=["bbox", "segm"])
test_evaluator = val_evaluator
