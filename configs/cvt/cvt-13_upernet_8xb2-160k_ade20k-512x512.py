"""UPerNet with CvT-13 on ADE20K, 160k iterations; ours, not the authors', who trained no segmentor (arXiv:2103.15808).

    python tools/train.py configs/cvt/cvt-13_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. Numbers: those of Swin-T's config. The weights lie behind a page that
a program cannot download from, the model zoo in the README of microsoft/CvT: put the file into checkpoints/.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="CvT",
        arch="13",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint="checkpoints/CvT-13-224x224-IN-1k.pth"),
    ),
    auxiliary_head=dict(in_index=1),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"cls_token": dict(decay_mult=0.0), "norm": dict(decay_mult=0.0)}),
)
