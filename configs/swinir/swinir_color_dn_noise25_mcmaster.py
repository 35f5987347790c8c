"""SwinIR removes noise of sigma 25 from McMaster's colour pictures; the paper has 33.20 dB (arXiv:2108.10257).

    python tools/test.py configs/swinir/swinir_color_dn_noise25_mcmaster.py 005_colorDN_DFWB_s128w8_SwinIR-M_noise25.pth

Every picture gets the noise of the seed 0, neither clipped nor rounded, as in the official test.
"""

_base_ = ["../_base_/datasets/restoration_folder.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="SwinIR", scale=1, embed_dim=180, depths=(6,) * 6, num_heads=(6,) * 6, window_size=8, mlp_ratio=2
    ),
)
test_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt="McMaster"),
        pipeline=[
            dict(type="LoadImageFromFile", key="gt_img"),
            dict(type="GaussianNoise", sigma=25, seed=0),
            dict(type="PackInputs"),
        ],
    ),
)
