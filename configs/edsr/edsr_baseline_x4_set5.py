"""EDSR baseline x4 on Set5 (arXiv:1707.02921).

python tools/test.py configs/edsr/edsr_baseline_x4_set5.py edsr_baseline_x4.pt
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(type="Restorer", generator=dict(type="EDSR", scale=4))
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X4"), filename_tmpl=dict(img="{}x4"), scale=4),
)
test_evaluator = [dict(type=metric, crop_border=4, convert_to="Y") for metric in ("PSNR", "SSIM")]
