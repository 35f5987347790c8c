"""kMaX-DeepLab with ResNet-50 on COCO's panoptic maps, 150k iterations (arXiv:2207.04044).

    python tools/train.py configs/kmax_deeplab/kmax-deeplab_r50_8xb8-150k_coco-panoptic.py --launcher pytorch

Eight GPUs, eight images each, mixed precision. The official repository reports PQ 53.3, and its files load. Numbers:
configs/coco/panoptic_segmentation/kmax_r50.yaml of bytedance/kmax-deeplab, without its copy-paste of whole images.
"""

_base_ = ["../_base_/datasets/coco_panoptic_lsj.py"]

norm = dict(type="SyncBN", eps=1e-3, momentum=0.01)
classes = dict(num_things_classes=80, num_stuff_classes=53)
model = dict(
    type="KMaXDeepLab",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_seg=True,
        seg_pad_value=255,
        pad_size_divisor=1281,  # all images fill a square, as officially
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    panoptic_head=dict(
        type="KMaXDeepLabHead",
        **classes,
        num_queries=128,
        pixel_decoder=dict(dec_layers=(1, 5, 1, 1), dec_channels=(512, 256, 128, 64)),
        dec_layers=(2, 2, 2),
        drop_path_prob=0.2,
    ),
    panoptic_fusion_head=dict(type="KMaXFusionHead", **classes),
    test_cfg=dict(panoptic_on=True),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile", to_float32=True),
            dict(type="LoadPanopticAnnotations"),
            dict(type="RandomFlip", prob=0.5),
            dict(type="RandomResize", scale=(1281, 1281), ratio_range=(0.2, 2.0), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(1281, 1281), recompute_bbox=True, allow_negative_crop=True),
            dict(type="PackInputs"),
        ]
    ),
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(1281, 1281), keep_ratio=True),
            dict(type="LoadPanopticAnnotations"),
            dict(type="PackInputs"),
        ]
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True,
    type="CocoPanopticMetric",
    ann_file="data/coco/annotations/panoptic_val2017.json",
    seg_prefix="data/coco/annotations/panoptic_val2017",
)
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=False, max_iters=150000, val_interval=5000)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=5000),
    dict(type="PolyLR", eta_min=0.0, power=0.9, by_epoch=False, begin=5000, end=150000),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=5000, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(enable=False, base_batch_size=64)
