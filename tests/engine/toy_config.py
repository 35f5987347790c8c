custom_imports = dict(imports=["toy"])
model = dict(type="ToyModel")
dataset = dict(type="ToyDataset", pipeline=[dict(type="ToyNoise")])
train_dataloader = dict(batch_size=3, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=True), dataset=dataset)
val_dataloader = dict(batch_size=3, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False), dataset=dataset)
test_dataloader = val_dataloader
val_evaluator = dict(type="ToyMetric")
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=2)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=4),
    dict(type="MultiStepLR", milestones=[2], gamma=0.5),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=1),
    checkpoint=dict(type="CheckpointHook", interval=2, by_epoch=False, save_best="score", max_keep_ckpts=2),
)
custom_hooks = [dict(type="EMAHook")]
randomness = dict(seed=3, deterministic=True)
