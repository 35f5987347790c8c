"""SwinIR removes what JPEG of quality 10 left in the gray pictures of classic5; the paper has 30.27 dB and 0.8249.

    python tools/test.py configs/swinir/swinir_jpeg_car_q10_classic5.py 006_CAR_DFWB_s126w7_SwinIR-M_jpeg10.pth

The pictures go through OpenCV's encoder, as in the official test (arXiv:2108.10257).
"""

_base_ = ["../_base_/datasets/restoration_folder.py"]

model = dict(
    type="Restorer",
    generator=dict(
        type="SwinIR",
        scale=1,
        in_channels=1,
        embed_dim=180,
        depths=(6,) * 6,
        num_heads=(6,) * 6,
        window_size=7,
        mlp_ratio=2,
        img_range=255.0,
    ),
    data_preprocessor=dict(type="DataPreprocessor", mean=[0.0], std=[255.0]),
)
test_dataloader = dict(
    dataset=dict(
        data_prefix=dict(gt="classic5"),
        pipeline=[
            dict(type="LoadImageFromFile", key="gt_img", color_type="grayscale"),
            dict(type="JPEGCompression", quality=10),
            dict(type="PackInputs"),
        ],
    ),
)
