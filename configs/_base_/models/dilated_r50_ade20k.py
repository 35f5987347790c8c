"""ResNet-50 with an output stride of 8 and an auxiliary head, for ADE20K; a config adds the decode head."""

_base_ = "./segmentor.py"

norm = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        contract_dilation=True,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth",
        ),
    ),
    decode_head=dict(
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
