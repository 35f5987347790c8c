"""UPerNet with MiT-B0 on ADE20K, 160k iterations; ours: SegFormer's authors have another head (arXiv:2105.15203).

    python tools/train.py configs/mit/mit-b0_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. Score: not measured (SegFormer-B0: mIoU 37.4). Numbers of the optimiser:
local_configs/segformer/B0/segformer.b0.512x512.ade.160k.py of NVlabs/SegFormer.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

weights = "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth"
model = dict(
    backbone=dict(
        type="MixVisionTransformer",
        embed_dims=32,
        num_layers=(2, 2, 2, 2),
        num_heads=(1, 2, 5, 8),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"norm": dict(decay_mult=0.0), "head": dict(lr_mult=10.0)}),
)
