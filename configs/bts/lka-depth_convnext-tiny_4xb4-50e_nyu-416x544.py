"""A decoder of large kernel attention (after arXiv:2409.17895) on ConvNeXt-T, NYU Depth v2, 50 epochs.

    python tools/train.py configs/bts/lka-depth_convnext-tiny_4xb4-50e_nyu-416x544.py --launcher pytorch

Four GPUs, four images each; BTS's data and schedule. Not trained yet: there is no figure to give.
"""

_base_ = ["../_base_/datasets/nyu_depth.py", "../_base_/schedules/bts_50e.py"]

model = dict(
    type="DepthEstimator",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=32,
    ),
    backbone=dict(
        type="ConvNeXt",
        arch="tiny",
        drop_path_rate=0.1,
        init_cfg=dict(
            type="Pretrained", checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth"
        ),
    ),
    decode_head=dict(type="LKADepthHead", channels=96, stride=4, max_depth=10.0, min_depth=0.1),
)
