"""CFSR x4 on Set5: the released weights give PSNR / SSIM 32.33 dB / 0.8964, the paper's row (arXiv:2401.05633).

    python tools/test.py configs/cfsr/cfsr_x4_set5.py CFSR_x4.pth

The file is model_zoo/CFSR_x4.pth of https://github.com/Aitical/CFSR, as it is. Where the images are looked for:
configs/_base_/datasets/set5.py.
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(type="Restorer", generator=dict(type="CFSR", scale=4))
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X4"), filename_tmpl=dict(img="{}x4"), scale=4),
)
test_evaluator = [dict(type=metric, crop_border=4, convert_to="Y") for metric in ("PSNR", "SSIM")]
