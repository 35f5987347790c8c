"""UPerNet with EfficientViM-M4 on ADE20K, 160k iterations; ours: the authors have a Semantic FPN (arXiv:2411.15241).

    python tools/train.py configs/efficientvim/efficientvim-m4_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. Score: not measured (their Semantic FPN: mIoU 41.3 after 40k iterations of 32 images). The
first map has stride 16, so it is light, and coarse at edges. Numbers: those of UPerNet with Swin-T, batch normalisation
as in the authors' segmentor. The weights lie behind a page that a program cannot download from, the table of the README
of mlvlab/EfficientViM: put EfficientViM_M4_e450.pth into checkpoints/.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="EfficientViM",
        arch="m4",
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="checkpoints/EfficientViM_M4_e450.pth"),
    ),
    auxiliary_head=dict(in_index=1),
)
