"""UPerNet with SHViT-S4 on ADE20K, 160k iterations; ours: the authors trained no segmentor (arXiv:2401.16456).

    python tools/train.py configs/shvit/shvit-s4_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. The first map has stride 16, so it is light, and coarse at edges.
Numbers: those of UPerNet with Swin-T, batch normalisation as in the authors' detectors.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

weights = "https://github.com/ysj9909/SHViT/releases/download/v1.0/shvit_s4.pth"
model = dict(
    backbone=dict(type="SHViT", arch="s4", norm_eval=True, init_cfg=dict(type="Pretrained", checkpoint=weights)),
    auxiliary_head=dict(in_index=1),
)
