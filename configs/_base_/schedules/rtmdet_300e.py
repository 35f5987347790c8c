"""RTMDet's 300 epochs for 256 images a step: AdamW, warm-up, cosine from the middle on, as in mmdet.

mmdet also averages the weights (EMA) and leaves Mosaic and MixUp out in the last 20 epochs.
"""

train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=10, dynamic_intervals=[(280, 1)])
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.004, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1.0e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type="CosineAnnealingLR",
        eta_min=0.0002,
        begin=150,
        end=300,
        T_max=150,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=10, save_best="coco/bbox_mAP", max_keep_ckpts=3),
)
auto_scale_lr = dict(enable=False, base_batch_size=256)
