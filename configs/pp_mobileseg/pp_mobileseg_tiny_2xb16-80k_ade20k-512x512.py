"""PP-MobileSeg-Tiny on ADE20K, 80k iterations (arXiv:2304.05152).

    python tools/train.py configs/pp_mobileseg/pp_mobileseg_tiny_2xb16-80k_ade20k-512x512.py --launcher pytorch

Two GPUs, sixteen images each. Numbers of the model: projects/pp_mobileseg of open-mmlab/mmsegmentation. Score of this
schedule: not measured.
"""

_base_ = [
    "../_base_/models/pp_mobileseg_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/sgd_160k.py",
]

model = dict(
    backbone=dict(
        mobileV3_cfg=[
            [[3, 16, 16, True, "ReLU", 1], [3, 64, 32, False, "ReLU", 2], [3, 48, 24, False, "ReLU", 1]],
            [[5, 96, 32, True, "HSwish", 2], [5, 96, 32, True, "HSwish", 1]],
            [[5, 160, 64, True, "HSwish", 2], [5, 160, 64, True, "HSwish", 1]],
            [[3, 384, 128, True, "HSwish", 2], [3, 384, 128, True, "HSwish", 1]],
        ],
        channels=[16, 24, 32, 64],
        depths=[2, 2],
        embed_dims=[64, 128],
        num_heads=4,
        inj_type="AAM",
        out_feat_chs=[32, 64, 128],
    ),
)
train_dataloader = dict(batch_size=16)
train_cfg = dict(max_iters=80000, val_interval=8000)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=80000)]
