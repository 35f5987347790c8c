"""SwinIR classical x4 on Set5 (arXiv:2108.10257).

python tools/test.py configs/swinir/swinir_classical_x4_set5.py 001_classicalSR_DF2K_s64w8_SwinIR-M_x4.pth
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="SwinIR",
        scale=4,
        embed_dim=180,
        depths=(6,) * 6,
        num_heads=(6,) * 6,
        window_size=8,
        mlp_ratio=2,
        upsampler="pixelshuffle",
    ),
)
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X4"), filename_tmpl=dict(img="{}x4"), scale=4),
)
test_evaluator = [dict(type=metric, crop_border=4, convert_to="Y") for metric in ("PSNR", "SSIM")]
