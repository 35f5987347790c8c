"""COCO 2017 boxes at many sizes, half of the images cropped first, as DETR and its successors train."""

_base_ = "./coco_detection.py"

scales = [(1333, short) for short in range(480, 801, 32)]
train_dataloader = dict(
    dataset=dict(
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="RandomChoice",
                transforms=[
                    [dict(type="RandomChoiceResize", scales=scales, keep_ratio=True)],
                    [
                        # no image of COCO is so long that its short side becomes less
                        dict(
                            type="RandomChoiceResize", scales=[(4200, 400), (4200, 500), (4200, 600)], keep_ratio=True
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
