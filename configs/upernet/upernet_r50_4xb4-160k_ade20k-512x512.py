"""UPerNet with ResNet-50 on ADE20K, 160k iterations (arXiv:1807.10221).

    python tools/train.py configs/upernet/upernet_r50_4xb4-160k_ade20k-512x512.py --launcher pytorch

Four GPUs, four images each. mmseg reports mIoU 42.05 (42.78 multi-scale). Numbers: the config of this name of
open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth",
        ),
    ),
)
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=160000)]
