"""Semantic FPN (arXiv:1901.02446) with ResNet-50 on ADE20K, 160k iterations.

    python tools/train.py configs/sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py --launcher pytorch

Four GPUs, four images each. mmseg reports mIoU 37.49. Numbers: the config of this name of open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/sem_fpn_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/sgd_160k.py",
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
