"""COCO 2017 boxes and masks: training by large scale jitter in crops of 1024 x 1024, two images a GPU."""

_base_ = "./coco_instance.py"

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile", to_float32=True),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(1024, 1024), recompute_bbox=True, allow_negative_crop=True),
            dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
            dict(type="PackInputs"),
        ],
    ),
)
