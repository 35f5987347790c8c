"""NYU Depth v2 in BTS's lists and folders: 24 231 images of `sync` to train, 654 of the official split to test."""

data = dict(type="DepthDataset", data_root="data/nyu_depth_v2")
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **data,
        ann_file="nyudepthv2_train_files_with_gt.txt",
        data_prefix=dict(img_path="sync", depth_map_path="sync"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadDepthAnnotation", depth_rescale_factor=1e-3),
            dict(type="DepthCrop", kind="nyu"),
            dict(
                type="RandomAffine",
                max_rotate_degree=2.5,
                max_translate_ratio=0.0,
                scaling_ratio_range=(1.0, 1.0),
                max_shear_degree=0.0,
                border_val=(0, 0, 0),
            ),
            dict(type="RandomCrop", crop_size=(416, 544)),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="Albu",
                transforms=[
                    dict(type="RandomGamma", gamma_limit=(90, 110), p=0.5),
                    dict(type="MultiplicativeNoise", multiplier=(0.75, 1.25), p=0.5),
                    dict(type="MultiplicativeNoise", multiplier=(0.9, 1.1), per_channel=True, p=0.5),
                ],
            ),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **data,
        test_mode=True,
        ann_file="nyudepthv2_test_files_with_gt.txt",
        data_prefix=dict(img_path="official_splits/test", depth_map_path="official_splits/test"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadDepthAnnotation", depth_rescale_factor=1e-3),
            dict(type="PackInputs"),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="DepthMetric", min_depth_eval=1e-3, max_depth_eval=10.0, crop_type="nyu_crop")
test_evaluator = val_evaluator
