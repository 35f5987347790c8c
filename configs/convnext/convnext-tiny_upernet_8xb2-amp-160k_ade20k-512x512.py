"""UPerNet with ConvNeXt-T on ADE20K, 160k iterations (arXiv:2201.03545).

    python tools/train.py configs/convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each, mixed precision. The authors report mIoU 46.0 (46.7 multi-scale), mmseg 46.11 (46.62).
Numbers: semantic_segmentation/configs/convnext/upernet_convnext_tiny_512_160k_ade20k_ss.py of
facebookresearch/ConvNeXt; the name is that of mmseg's config.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="ConvNeXt",
        arch="tiny",
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(type="Pretrained", checkpoint="https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth"),
    ),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="LearningRateDecayOptimizerConstructor",
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=6),
)
