"""SegFormer for the 150 classes of ADE20K (arXiv:2105.15203); a config names the size of the backbone."""

_base_ = "./segmentor.py"

model = dict(
    backbone=dict(type="MixVisionTransformer", num_heads=(1, 2, 5, 8), drop_path_rate=0.1),
    decode_head=dict(
        type="SegformerHead",
        channels=256,
        in_index=[0, 1, 2, 3],
        num_classes=150,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
)
