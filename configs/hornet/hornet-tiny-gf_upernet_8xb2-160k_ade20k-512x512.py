"""UPerNet with HorNet-T (global filters) on ADE20K, 160k iterations (arXiv:2207.14284).

    python tools/train.py configs/hornet/hornet-tiny-gf_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 49.2 (49.3 multi-scale). Numbers:
semantic_segmentation/configs/hornet/upernet_hornet_tiny_gf_512_160k_ade20k.py of raoyongming/HorNet.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="HorNet",
        arch="tiny_gf",
        task="segmentation",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint="https://cloud.tsinghua.edu.cn/f/460e759c82324ea6bfa3/?dl=1"),
    ),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(
    constructor="LearningRateDecayOptimizerConstructorHorNet",
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=6),
    clip_grad=dict(max_norm=1, norm_type=2),
)
