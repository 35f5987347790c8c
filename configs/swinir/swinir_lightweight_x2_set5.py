"""SwinIR lightweight x2 on Set5; the paper has 38.14 dB and 0.9611 (arXiv:2108.10257).

python tools/test.py configs/swinir/swinir_lightweight_x2_set5.py 002_lightweightSR_DIV2K_s64w8_SwinIR-S_x2.pth
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="SwinIR",
        scale=2,
        embed_dim=60,
        depths=(6,) * 4,
        num_heads=(6,) * 4,
        window_size=8,
        mlp_ratio=2,
        upsampler="pixelshuffledirect",
    ),
)
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X2"), filename_tmpl=dict(img="{}x2"), scale=2),
)
test_evaluator = [dict(type=metric, crop_border=2, convert_to="Y") for metric in ("PSNR", "SSIM")]
