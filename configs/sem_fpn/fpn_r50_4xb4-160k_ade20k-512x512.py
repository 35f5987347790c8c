"""Semantic FPN (arXiv:1901.02446) with ResNet-50 on ADE20K, 160k iterations.

    python tools/train.py configs/sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py --launcher pytorch

Four GPUs, four images each. mmseg reports mIoU 37.49. Numbers: the config of this name of open-mmlab/mmsegmentation.
"""

_base_ = ["../_base_/datasets/ade20k_512x512.py", "../_base_/schedules/sgd_160k.py"]

norm = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth",
        ),
    ),
    neck=dict(type="FPN", out_channels=256, num_outs=4),
    decode_head=dict(
        type="FPNHead",
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=128,
        num_classes=150,
        norm_cfg=norm,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
    test_cfg=dict(mode="whole"),
)
train_dataloader = dict(batch_size=4)
