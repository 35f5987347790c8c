"""COCO 2017 panoptic: large scale jitter in crops of 1024 x 1024, two images a GPU; PQ, and AP of things."""

_base_ = "./coco_detection.py"

train_dataloader = dict(
    dataset=dict(
        type="CocoPanopticDataset",
        ann_file="annotations/panoptic_train2017.json",
        data_prefix=dict(img="train2017", seg="annotations/panoptic_train2017"),
        pipeline=[
            dict(type="LoadImageFromFile", to_float32=True),
            dict(type="LoadPanopticAnnotations"),
            dict(type="RandomFlip", prob=0.5),
            dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(1024, 1024), recompute_bbox=True, allow_negative_crop=True),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        type="CocoPanopticDataset",
        ann_file="annotations/panoptic_val2017.json",
        data_prefix=dict(img="val2017", seg="annotations/panoptic_val2017"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(1333, 800), keep_ratio=True),
            dict(type="LoadPanopticAnnotations"),
            dict(type="PackInputs"),
        ],
    ),
)
test_dataloader = val_dataloader
annotations = "data/coco/annotations"
val_evaluator = [
    dict(
        type="CocoPanopticMetric",
        ann_file=f"{annotations}/panoptic_val2017.json",
        seg_prefix=f"{annotations}/panoptic_val2017",
    ),
    dict(type="CocoMetric", ann_file=f"{annotations}/instances_val2017.json", metric=["bbox", "segm"]),
]
test_evaluator = val_evaluator
