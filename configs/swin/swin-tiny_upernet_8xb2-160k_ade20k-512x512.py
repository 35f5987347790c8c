"""UPerNet with Swin-Tiny on ADE20K, 160k iterations (arXiv:2103.14030).

    python tools/train.py configs/swin/swin-tiny_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 44.51 (45.81 multi-scale). Numbers:
configs/swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k.py of
SwinTransformer/Swin-Transformer-Semantic-Segmentation.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

storage = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0"
model = dict(
    backbone=dict(
        type="SwinTransformer",
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=f"{storage}/swin_tiny_patch4_window7_224.pth"),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        },
    ),
)
