"""Demosaicing of a Quad Bayer sensor with event pixels (arXiv:2404.02731), on raw images made of RGB.

To refine a trained network: model.pixel_loss.type=PixelFocusLoss and load_from=FILE.

    python tools/train.py configs/event_demosaic/event_demosaic_quad.py

Pictures: data/DIV2K/DIV2K_train_HR, or train_dataloader.dataset.data_root.
"""

_base_ = ["../_base_/default_runtime.py"]

model = dict(
    type="Restorer",
    generator=dict(type="EventDemosaicNet"),
    data_preprocessor=dict(type="DataPreprocessor", mean=[0.0], std=[255.0]),
    pixel_loss=dict(type="CharbonnierLoss"),
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
            dict(type="BayerMosaic", quad=True, event_pixels=True),
            dict(type="PackInputs"),
        ],
    ),
)
train_cfg = dict(by_epoch=False, max_iters=200000)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-4, weight_decay=1e-4))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=False, T_max=200000, eta_min=1e-6)]
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=5000))
custom_hooks = [dict(type="EMAHook", momentum=1e-3)]
