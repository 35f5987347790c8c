"""COCO 2017 boxes and masks at many sizes, half of the images cropped first, as DETR and Sparse R-CNN train."""

_base_ = "./coco_instance.py"

scales = [(1333, short) for short in range(480, 801, 32)]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="RandomChoice",
                transforms=[
                    [dict(type="RandomChoiceResize", scales=scales, keep_ratio=True)],
                    [
                        dict(
                            type="RandomChoiceResize", scales=[(1333, 400), (1333, 500), (1333, 600)], keep_ratio=True
                        ),
                        dict(
                            type="RandomCrop",
                            crop_type="absolute_range",
                            crop_size=(384, 600),
                            allow_negative_crop=True,
                        ),
                        dict(type="RandomChoiceResize", scales=scales, keep_ratio=True),
                    ],
                ],
            ),
            dict(type="PackInputs"),
        ],
    ),
)
