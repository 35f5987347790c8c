"""50 epochs of AdamW, the rate cut to a tenth after 40, a tenth of it for the backbone: Deformable DETR's schedule."""

train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.0001, weight_decay=0.0001),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, begin=0, end=50, milestones=[40], gamma=0.1)]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=1, save_best="coco/bbox_mAP", max_keep_ckpts=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
