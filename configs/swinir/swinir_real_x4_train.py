"""SwinIR for real pictures x4 (arXiv:2108.10257), trained on Real-ESRGAN's chain by L1, without the GAN.

python tools/train.py configs/swinir/swinir_real_x4_train.py
"""

_base_ = ["../nafnet/nafnet_width32_denoise.py"]

model = dict(
    _delete_=True,
    type="Restorer",
    generator=dict(
        type="SwinIR",
        scale=4,
        embed_dim=180,
        depths=(6,) * 6,
        num_heads=(6,) * 6,
        window_size=8,
        mlp_ratio=2,
        upsampler="nearest+conv",
    ),
)
train_dataloader = dict(
    dataset=dict(
        scale=4,
        pipeline=[
            dict(type="LoadImageFromFile", key="gt_img"),
            dict(type="PairedRandomCrop", gt_patch_size=256, scale=4),
            dict(type="Flip", keys="gt_img"),
            dict(type="RandomTransposeHW", keys="gt_img"),
            dict(type="RealESRGANDegradation", scale=4),
            dict(type="PackInputs"),
        ],
    ),
)
custom_hooks = [dict(type="EMAHook", momentum=1e-3)]
