"""MambaIR removes noise of sigma 25 from McMaster's colour pictures (arXiv:2402.15648).

    python tools/test.py configs/mambair/mambair_colordn_noise25_mcmaster.py ColorDN_MambaIR_level25.pth

Every picture gets the noise of the seed 0, neither clipped nor rounded.
"""

_base_ = ["../_base_/datasets/restoration_folder.py"]

model = dict(
    type="Restorer",
    generator=dict(type="MambaIR", scale=1, embed_dim=180, depths=(6,) * 6, mlp_ratio=1.2),
    test_cfg=dict(tile=200, tile_overlap=40),
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
