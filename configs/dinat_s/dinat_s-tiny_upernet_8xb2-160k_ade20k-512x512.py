"""UPerNet with DiNAT_s-Tiny on ADE20K, 160k iterations (arXiv:2209.15001).

    python tools/train.py configs/dinat_s/dinat_s-tiny_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 46.0 (47.4 multi-scale) with mixed precision. Numbers:
segmentation/configs/dinat_s/upernet_dinat_s_tiny_512x512_160k_ade20k.py of SHI-Labs/Neighborhood-Attention-Transformer.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(type="DiNAT_s", arch="tiny", task="segmentation", drop_path_rate=0.3),
    pretrained="https://shi-labs.com/projects/dinat/checkpoints/imagenet1k/dinat_s_tiny_in1k_224.pth",
)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    paramwise_cfg=dict(custom_keys={"rpb": dict(decay_mult=0.0), "norm": dict(decay_mult=0.0)}),
)
