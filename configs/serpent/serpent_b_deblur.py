"""Serpent (arXiv:2403.17902) against blur and a little noise.

python tools/train.py configs/serpent/serpent_b_deblur.py --cfg-options train_dataloader.dataset.data_root=/data/DIV2K
"""

_base_ = ["../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    generator=dict(type="Serpent"),
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
            dict(type="RandomBlurKernel", kinds=["iso"], kind_probs=[1.0], sigma=[1.0, 3.0], sinc_prob=0.0),
            dict(type="GaussianNoise", sigma=[0, 5]),
            dict(type="PackInputs"),
        ],
    ),
)
train_cfg = dict(by_epoch=False, max_iters=200000)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-4, weight_decay=1e-4))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, T_max=200000, eta_min=1e-6)]
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=5000))
custom_hooks = [dict(type="EMAHook", momentum=1e-3)]
