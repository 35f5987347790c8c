"""SwinIR lightweight x4 on Set5; the paper has 32.44 dB and 0.8976 (arXiv:2108.10257).

python tools/test.py configs/swinir/swinir_lightweight_x4_set5.py 002_lightweightSR_DIV2K_s64w8_SwinIR-S_x4.pth
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="SwinIR",
        scale=4,
        embed_dim=60,
        depths=(6,) * 4,
        num_heads=(6,) * 4,
        window_size=8,
        mlp_ratio=2,
        upsampler="pixelshuffledirect",
    ),
)
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X4"), filename_tmpl=dict(img="{}x4"), scale=4),
)
test_evaluator = [dict(type=metric, crop_border=4, convert_to="Y") for metric in ("PSNR", "SSIM")]
