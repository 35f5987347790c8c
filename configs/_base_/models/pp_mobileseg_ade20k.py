"""PP-MobileSeg on ADE20K without its sizes (arXiv:2304.05152)."""

_base_ = "./segmentor.py"

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    backbone=dict(type="StrideFormer", act_cfg=dict(type="ReLU6")),
    decode_head=dict(type="PPMobileSegHead", in_index=0, num_classes=150, dropout_ratio=0.1, use_dw=True),
)
