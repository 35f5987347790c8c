"""TCSR-B x4 on Set5 (arXiv:2303.14324); no weights were released: train your own.

python tools/test.py configs/tcsr/tcsr_b_x4_set5.py work_dirs/tcsr/iter_500000.pth
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(type="Restorer", generator=dict(type="TCSR", scale=4))
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X4"), filename_tmpl=dict(img="{}x4"), scale=4),
)
test_evaluator = [dict(type=metric, crop_border=4, convert_to="Y") for metric in ("PSNR", "SSIM")]
