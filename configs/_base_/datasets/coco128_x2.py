"""Super-resolution x2 on the 128 photographs of COCO128, scored on Set5; for training of minutes on a CPU.

Small patches, many steps: that learns fastest where minutes count. The photographs are halved first: that takes most
traces of JPEG out of what a network is to produce, and leaves sharper edges. Their folder is the first of the two
places that exists, seen from where the command is started.
"""

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="RestorationDataset",
        data_root=["data/coco128", "../shared/data/coco128"],
        data_prefix=dict(gt="train2017"),
        scale=2,
        pipeline=[
            dict(type="LoadImageFromFile", key="gt_img", cache=True),
            dict(type="PairedRandomCrop", gt_patch_size=128, scale=2),
            dict(type="MATLABLikeResize", keys="gt_img", scale=0.5, output_keys="gt_img"),
            dict(type="Flip", keys="gt_img"),
            dict(type="Flip", keys="gt_img", direction="vertical"),
            dict(type="RandomTransposeHW", keys="gt_img"),
            dict(type="MATLABLikeResize", scale=0.5),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="RestorationDataset",
        data_root=["data/Set5", "../shared/data/sr/Set5"],
        data_prefix=dict(gt="HR", img="LR_bicubic/X2"),
        filename_tmpl=dict(img="{}x2"),
        scale=2,
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadImageFromFile", key="gt_img"),
            dict(type="ModCrop"),
            dict(type="PackInputs"),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type=metric, crop_border=2, convert_to="Y") for metric in ("PSNR", "SSIM")]
test_evaluator = val_evaluator
