"""MambaIR light x2 on Set5 (arXiv:2402.15648), in tiles of 200 pixels: the official test cuts larger pictures, too.

python tools/test.py configs/mambair/mambair_lightsr_x2_set5.py lightSR_x2.pth
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="MambaIR",
        scale=2,
        embed_dim=60,
        d_state=10,
        depths=(6,) * 4,
        mlp_ratio=1.2,
        upsampler="pixelshuffledirect",
    ),
    test_cfg=dict(tile=200, tile_overlap=40),
)
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X2"), filename_tmpl=dict(img="{}x2"), scale=2),
)
test_evaluator = [dict(type=metric, crop_border=2, convert_to="Y") for metric in ("PSNR", "SSIM")]
