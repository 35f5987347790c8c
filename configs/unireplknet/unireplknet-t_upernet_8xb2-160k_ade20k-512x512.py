"""UPerNet with UniRepLKNet-T on ADE20K, 160k iterations (arXiv:2311.15599).

    python tools/train.py configs/unireplknet/unireplknet-t_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 48.6 (49.1 multi-scale). All layers learn at one rate, as there.
Numbers:
segmentation/configs/ade20k/upernet_unireplknet_t_512_160k_ade20k.py of AILab-CVC/UniRepLKNet.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512_multiple.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(type="UniRepLKNet", arch="t", drop_path_rate=0.2),
    pretrained="https://huggingface.co/DingXiaoH/UniRepLKNet/resolve/main/unireplknet_t_in1k_224_acc83.21.pth",
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, flat_decay_mult=0.0),
)
