"""CFSR x2 on Set5: the released weights give PSNR / SSIM 38.07 dB / 0.9607, what the official code gives.

    python tools/test.py configs/cfsr/cfsr_x2_set5.py CFSR_x2.pth

The file is model_zoo/CFSR_x2.pth of https://github.com/Aitical/CFSR, as it is. Where the images are looked for:
configs/_base_/datasets/set5.py.
"""

_base_ = ["../_base_/datasets/set5.py"]

model = dict(type="Restorer", generator=dict(type="CFSR", scale=2))
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img="LR_bicubic/X2"), filename_tmpl=dict(img="{}x2"), scale=2),
)
test_evaluator = [dict(type=metric, crop_border=2, convert_to="Y") for metric in ("PSNR", "SSIM")]
