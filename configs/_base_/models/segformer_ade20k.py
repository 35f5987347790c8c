"""SegFormer for the 150 classes of ADE20K (arXiv:2105.15203); a config names the size of the backbone."""

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
    test_cfg=dict(mode="whole"),
)
