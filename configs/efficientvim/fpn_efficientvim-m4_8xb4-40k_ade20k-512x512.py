"""Semantic FPN with EfficientViM-M4 on ADE20K, 40k iterations (arXiv:2411.15241).

    python tools/train.py configs/efficientvim/fpn_efficientvim-m4_8xb4-40k_ade20k-512x512.py --launcher pytorch

Eight GPUs, four images each. The authors report mIoU 41.3. Numbers:
segmentation/configs/sem_fpn/fpn_efficientvim_m4_ade20k_40k.py of mlvlab/EfficientViM, whose backbone keeps the running
statistics of batch normalisation. The weights lie behind a page that a program cannot download from, the table of its
README: put EfficientViM_M4_e450.pth into checkpoints/.
"""

_base_ = [
    "../_base_/models/sem_fpn_ade20k.py",
    "../_base_/datasets/ade20k_512x512_multiple.py",
    "../_base_/schedules/sgd_160k.py",
]

model = dict(
    backbone=dict(
        type="EfficientViM",
        arch="m4",
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="checkpoints/EfficientViM_M4_e450.pth"),
    ),
)
train_dataloader = dict(batch_size=4)
train_cfg = dict(max_iters=40000, val_interval=4000)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-4))
param_scheduler = [dict(type="PolyLR", eta_min=1e-6, power=0.9, by_epoch=False, begin=0, end=40000)]
default_hooks = dict(checkpoint=dict(interval=4000))
auto_scale_lr = dict(base_batch_size=32)
