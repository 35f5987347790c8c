"""BTS's 50 epochs for 16 images a step: AdamW without weight decay in the head, a polynomial fall to a tenth."""

train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=1e-2, eps=1e-3),
    paramwise_cfg=dict(custom_keys={"decode_head": dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type="PolyLR", eta_min=1e-5, power=0.9, by_epoch=True, begin=0, end=50, convert_to_iter_based=True)
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=1, save_best="abs_rel", rule="less", max_keep_ckpts=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
