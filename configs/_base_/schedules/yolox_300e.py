"""YOLOX's 300 epochs for 64 images a step: SGD, quadratic warm-up, cosine, a constant rate at the end, as in mmdet.

mmdet also averages the weights (EMA) and, in the last 15 epochs, leaves Mosaic and MixUp out and adds an L1 loss.
"""

train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=10)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type="QuadraticWarmupLR", by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min=0.0005,
        begin=5,
        T_max=285,
        end=285,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(type="ConstantLR", by_epoch=True, factor=1, begin=285, end=300),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=10, save_best="coco/bbox_mAP", max_keep_ckpts=3),
)
auto_scale_lr = dict(enable=False, base_batch_size=64)
