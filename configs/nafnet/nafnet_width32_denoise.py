"""NAFNet (arXiv:2204.04676) for noise up to 50; patches grow while it trains, and the weights are averaged.

    python tools/train.py configs/nafnet/nafnet_width32_denoise.py

Pictures: data/DIV2K/DIV2K_train_HR, or train_dataloader.dataset.data_root.
"""

_base_ = ["../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="NAFNet",
        width=32,
        middle_blk_num=12,
        enc_blk_nums=(2, 2, 4, 8),
        dec_blk_nums=(2, 2, 2, 2),
    ),
    pixel_loss=dict(type="L1Loss"),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="RestorationDataset",
        data_root="data/DIV2K",
        data_prefix=dict(gt="DIV2K_train_HR"),
        scale=1,
        pipeline=[
            dict(type="LoadImageFromFile", key="gt_img"),
            dict(type="PairedRandomCrop", gt_patch_size=256, scale=1),
            dict(type="Flip", keys="gt_img"),
            dict(type="RandomTransposeHW", keys="gt_img"),
            dict(type="GaussianNoise", sigma=[0, 50]),
            dict(type="PackInputs"),
        ],
    ),
)
train_cfg = dict(by_epoch=False, max_iters=200000)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-4, weight_decay=1e-4))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, T_max=200000, eta_min=1e-6)]
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=5000))
custom_hooks = [
    dict(type="EMAHook", momentum=1e-3),
    dict(type="ProgressivePatchHook", patch_sizes=[128, 192, 256], batch_sizes=[8, 4, 2], iters=[92000, 64000, 44000]),
]
