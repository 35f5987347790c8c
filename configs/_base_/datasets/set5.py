"""Set5 with low-quality images by MATLAB's bicubic; PSNR and SSIM of the luma, ``scale`` pixels cropped at the border.

A config adds the scale: see configs/cfsr. The folder holds HR/baby.png … and LR_bicubic/X4/babyx4.png …, as the
benchmark package of EDSR has them. The first of the two places of ``data_root`` that exists is taken, seen from where
the command is started; another place is given as

    --cfg-options test_dataloader.dataset.data_root=/data/benchmark/Set5
"""

test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="RestorationDataset",
        data_root=["data/Set5", "../shared/data/sr/Set5"],
        data_prefix=dict(gt="HR"),
        test_mode=True,
        # the sharp images are cropped to a multiple of the scale, as the low-quality ones were made from them
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadImageFromFile", key="gt_img"),
            dict(type="ModCrop"),
            dict(type="PackInputs"),
        ],
    ),
)
test_evaluator = [dict(type="PSNR", convert_to="Y"), dict(type="SSIM", convert_to="Y")]
