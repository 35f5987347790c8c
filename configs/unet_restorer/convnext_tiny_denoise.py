"""A U-Net on any backbone, here ConvNeXt tiny, against noise: another backbone is one line.

    python tools/train.py configs/unet_restorer/convnext_tiny_denoise.py

Pictures: data/DIV2K/DIV2K_train_HR, or train_dataloader.dataset.data_root.
"""

_base_ = ["../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    backbone=dict(type="ConvNeXt", arch="tiny"),
    head=dict(type="UNetHead", channels=48),
    upsample_residual=True,
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
custom_hooks = [dict(type="EMAHook", momentum=1e-3)]
