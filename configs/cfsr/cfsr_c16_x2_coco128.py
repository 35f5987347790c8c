"""CFSR (arXiv:2401.05633) x2 with 16 channels, from random weights, in minutes of one CPU core.

    python tools/train.py configs/cfsr/cfsr_c16_x2_coco128.py

36.37 dB on Set5 after three minutes of one CPU core. Bicubic interpolation has 33.67. It learns in the merged form,
which makes a third more steps in the same time than the authors' branches of edge filters (``deploy=False``;
``switch_to_deploy`` merges them).
"""

_base_ = ["../_base_/datasets/coco128_x2.py", "../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    generator=dict(type="CFSR", scale=2, embed_dim=16, depths=(4,), dw_size=7, deploy=True),
    upsample_residual=True,
    pixel_loss=dict(type="MSELoss"),
)
train_dataloader = dict(batch_size=8)
train_cfg = dict(by_epoch=False, max_iters=4000, val_interval=500)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=8e-3, fused=True))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=300),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=300, end=4000, T_max=3700, eta_min=1e-5),
]
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=500))
