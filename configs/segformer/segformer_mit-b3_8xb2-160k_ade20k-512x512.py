"""SegFormer-B3 on ADE20K, 160k iterations (arXiv:2105.15203).

    python tools/train.py configs/segformer/segformer_mit-b3_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. mmseg reports mIoU 47.82. Numbers: the config of this name of open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/segformer_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

weights = "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b3_20220624-13b1141c.pth"
model = dict(
    backbone=dict(
        embed_dims=64,
        num_layers=(3, 4, 18, 3),
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"norm": dict(decay_mult=0.0), "head": dict(lr_mult=10.0)}),
)
