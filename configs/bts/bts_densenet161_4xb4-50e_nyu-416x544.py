"""BTS with DenseNet-161 on NYU Depth v2, 50 epochs (arXiv:1907.10326).

    python tools/train.py configs/bts/bts_densenet161_4xb4-50e_nyu-416x544.py --launcher pytorch

Four GPUs, four images each. The paper reports delta < 1.25 of 0.885, AbsRel 0.110 and RMSE 0.392. Numbers:
pytorch/arguments_train_nyu.txt of cleinc/bts, whose lists stand in data/nyu_depth_v2.
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
        type="BTSEncoder",
        arch="densenet161",
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://densenet161"),
    ),
    decode_head=dict(type="BTSHead", channels=512, max_depth=10.0, min_depth=0.1),
)
