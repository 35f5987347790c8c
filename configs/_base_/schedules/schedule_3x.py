"""36 epochs, the rate cut to a tenth after 27 and 33, otherwise the 1x schedule: mmdet's 3x."""

_base_ = "./schedule_1x.py"

train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=36, milestones=[27, 33], gamma=0.1),
]
