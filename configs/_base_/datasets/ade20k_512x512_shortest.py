"""ADE20K in crops of 512 x 512 of images whose short edge is one of many lengths, as Mask2Former trains."""

_base_ = "./ade20k_512x512.py"

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", reduce_zero_label=True),
            dict(
                type="RandomChoiceResize",
                scales=[int(512 * x * 0.1) for x in range(5, 21)],
                resize_type="ResizeShortestEdge",
                max_size=2048,
            ),
            dict(type="RandomCrop", crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PhotoMetricDistortion"),
            dict(type="PackInputs"),
        ],
    ),
)
