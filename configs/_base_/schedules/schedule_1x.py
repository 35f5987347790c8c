"""12 epochs of SGD, the rate cut to a tenth after 8 and 11, for 16 images a step: mmdet's 1x."""

train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=1)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=1, save_best="coco/bbox_mAP", max_keep_ckpts=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
