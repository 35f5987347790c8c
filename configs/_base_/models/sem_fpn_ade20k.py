"""Semantic FPN for the 150 classes of ADE20K as mmseg sets it; a config adds the backbone."""

_base_ = "./segmentor.py"

norm = dict(type="SyncBN", requires_grad=True)
model = dict(
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
)
