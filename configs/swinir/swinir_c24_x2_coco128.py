"""SwinIR (arXiv:2108.10257) x2 with 24 channels and four blocks, from random weights, in minutes of one CPU core.

    python tools/train.py configs/swinir/swinir_c24_x2_coco128.py

A transformer to try things on, such as `benchmarks/quantization.py`.
"""

_base_ = ["../_base_/datasets/coco128_x2.py", "../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="SwinIR",
        scale=2,
        embed_dim=24,
        depths=(4,),
        num_heads=(3,),
        mlp_ratio=2,
        upsampler="pixelshuffledirect",
    ),
    upsample_residual=True,
    pixel_loss=dict(type="MSELoss"),
)
train_dataloader = dict(batch_size=8)
train_cfg = dict(by_epoch=False, max_iters=3000, val_interval=500)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=4e-3, fused=True))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=300),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=300, end=3000, T_max=2700, eta_min=1e-5),
]
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=500))
