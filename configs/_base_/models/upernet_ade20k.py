"""UPerNet for the 150 classes of ADE20K as Swin's authors set it; a config adds the backbone."""

_base_ = "./segmentor.py"

norm = dict(type="SyncBN", requires_grad=True)
model = dict(
    decode_head=dict(
        type="UPerHead",
        channels=512,
        num_classes=150,
        norm_cfg=norm,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        channels=256,
        in_index=2,
        num_convs=1,
        concat_input=False,
        num_classes=150,
        norm_cfg=norm,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4),
    ),
)
