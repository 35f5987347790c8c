r"""UPerNet with InceptionNeXt-T on ADE20K, 160k iterations; ours, not the authors'.

    python tools/train.py configs/inceptionnext/inceptionnext-tiny_upernet_8xb2-160k_ade20k-512x512.py \
        --launcher pytorch

Eight GPUs, two images each. Score: not measured. The paper (arXiv:2303.16900) has multi-scale results of UPerNet, but
its code was not released; its authors add batch normalisation to the backbone's outputs (sail-sg/inceptionnext, issues
10 and 11), which is not done here. Numbers: those of ConvNeXt-T's config, with Swin-T's drop path.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

weights = "https://github.com/sail-sg/inceptionnext/releases/download/model/inceptionnext_tiny.pth"
model = dict(
    backbone=dict(
        type="InceptionNeXt",
        arch="tiny",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    constructor="LearningRateDecayOptimizerConstructor",
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=6),
)
