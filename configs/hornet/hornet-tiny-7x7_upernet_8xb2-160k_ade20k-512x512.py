"""UPerNet with HorNet-T (7x7) on ADE20K, 160k iterations (arXiv:2207.14284).

    python tools/train.py configs/hornet/hornet-tiny-7x7_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 48.1 (48.9 multi-scale). Numbers:
semantic_segmentation/configs/hornet/upernet_hornet_tiny_7x7_512_160k_ade20k.py of raoyongming/HorNet.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="HorNet",
        arch="tiny_7x7",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint="https://cloud.tsinghua.edu.cn/f/bac9690c72944d19aca1/?dl=1"),
    ),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(
    constructor="LearningRateDecayOptimizerConstructorHorNet",
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=6),
)
