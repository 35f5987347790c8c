"""ADE20K as ade20k_512x512.py has it, but for prediction, where images are stretched to multiples of 32 pixels."""

_base_ = "./ade20k_512x512.py"

val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(2048, 512), keep_ratio=True),
            dict(type="ResizeToMultiple", size_divisor=32),
            dict(type="LoadAnnotations", reduce_zero_label=True),
            dict(type="PackInputs"),
        ],
    ),
)
test_dataloader = val_dataloader
