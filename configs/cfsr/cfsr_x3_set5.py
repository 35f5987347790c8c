"""CFSR x3 on Set5: the released weights give PSNR / SSIM 34.50 dB / 0.9279, what the official code gives.

    python tools/test.py configs/cfsr/cfsr_x3_set5.py CFSR_x3.pth

The file is model_zoo/CFSR_x3.pth of https://github.com/Aitical/CFSR, as it is. Where the images are looked for:
configs/_base_/datasets/set5.py.
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(type="Restorer", generator=dict(type="CFSR", scale=3))
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X3"), filename_tmpl=dict(img="{}x3"), scale=3),
)
test_evaluator = [dict(type=metric, crop_border=3, convert_to="Y") for metric in ("PSNR", "SSIM")]
