"""Mamba-YOLO-T on COCO, 300 epochs (arXiv:2406.05835).

    python tools/train.py configs/mamba_yolo/mamba_yolo_t_8xb64-300e_coco.py --launcher pytorch --amp

Eight GPUs, 64 images each. The official repository reports box AP 44.5. Numbers: its mbyolo_train.py and the defaults
that it trains with. The changes of colour are YOLOX's, which add where the official ones multiply.
"""

_base_ = [
    "../_base_/models/mamba_yolo.py",
    "../_base_/datasets/coco_yolox_640.py",
]

mosaic = [
    dict(type="Mosaic", img_scale=(640, 640), pad_val=114.0),
    dict(
        type="RandomAffine",
        max_rotate_degree=0.0,
        max_shear_degree=0.0,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.5, 1.5),
        border=(-320, -320),
    ),
]
single = [
    dict(type="Resize", scale=(640, 640), keep_ratio=True),
    dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
]
shared = [
    dict(type="YOLOXHSVRandomAug"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=64, num_workers=8, dataset=dict(pipeline=[*mosaic, *shared]))

train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=10)
optim_wrapper = dict(
    type="OptimWrapper",
    # the official weight decay, 5e-4, is for 64 images
    optimizer=dict(type="SGD", lr=0.01, momentum=0.937, weight_decay=4e-3, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
    dict(type="LinearLR", start_factor=1.0, end_factor=0.01, by_epoch=True, begin=3, end=300),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=10, save_best="coco/bbox_mAP", max_keep_ckpts=3),
)
custom_hooks = [
    dict(type="EMAHook", ema_type="ExpMomentumEMA", momentum=0.0001, update_buffers=True, priority=49),
    dict(type="PipelineSwitchHook", switch_epoch=290, switch_pipeline=[*single, *shared]),
]
auto_scale_lr = dict(enable=False, base_batch_size=512)
