"""PP-MobileSeg-Base on ADE20K, 80k iterations (arXiv:2304.05152).

    python tools/train.py configs/pp_mobileseg/pp_mobileseg_base_2xb16-80k_ade20k-512x512.py --launcher pytorch

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
            [[3, 16, 16, True, "ReLU", 1], [3, 64, 32, False, "ReLU", 2], [3, 96, 32, False, "ReLU", 1]],
            [[5, 128, 64, True, "HSwish", 2], [5, 240, 64, True, "HSwish", 1]],
            [[5, 384, 128, True, "HSwish", 2], [5, 384, 128, True, "HSwish", 1]],
            [[5, 768, 192, True, "HSwish", 2], [5, 768, 192, True, "HSwish", 1]],
        ],
        channels=[16, 32, 64, 128],
        depths=[3, 3],
        embed_dims=[128, 192],
        num_heads=8,
        inj_type="AAMSx8",
        out_feat_chs=[64, 128, 192],
    ),
)
train_dataloader = dict(batch_size=16)
train_cfg = dict(max_iters=80000, val_interval=8000)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=80000)]
