"""PP-MobileSeg on ADE20K without its sizes (arXiv:2304.05152)."""

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(type="StrideFormer", act_cfg=dict(type="ReLU6")),
    decode_head=dict(type="PPMobileSegHead", in_index=0, num_classes=150, dropout_ratio=0.1, use_dw=True),
    test_cfg=dict(mode="whole"),
)
