"""DC-Swin (DCFAM on Swin-Small) on ISPRS Potsdam, 30 epochs (arXiv:2104.12137).

    python tools/train.py configs/dcswin/dcswin-small_1xb8-30e_potsdam-512x512.py

One GPU, eight crops a step; images in data/potsdam/{train,val}/images, masks with the values 0 to 5 in …/masks.
Numbers: config/potsdam/dcswin.py of WangLibo1995/GeoSeg, without its mosaic, its turns by 90 degrees and the Lookahead
around AdamW.
"""

_base_ = "../_base_/models/segmentor.py"

data = dict(
    type="SegFolderDataset",
    data_root="data/potsdam",
    img_suffix=".tif",
    metainfo=dict(
        classes=("ImSurf", "Building", "LowVeg", "Tree", "Car", "Clutter"),
        palette=[[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 204, 0], [255, 0, 0]],
    ),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **data,
        data_prefix=dict(img_path="train/images", seg_map_path="train/masks"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.5, 1.5), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **data,
        test_mode=True,
        data_prefix=dict(img_path="val/images", seg_map_path="val/masks"),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackInputs")],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU", "mFscore"])
test_evaluator = val_evaluator

storage = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0"
model = dict(
    backbone=dict(
        type="SwinTransformer",
        embed_dims=96,
        depths=(2, 2, 18, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.2,
        frozen_stages=2,
        init_cfg=dict(
            type="Pretrained",
            checkpoint=f"{storage}/swin_small_patch4_window7_224.pth",
        ),
    ),
    decode_head=dict(
        type="DCFAMHead",
        num_classes=6,
        loss_decode=[
            dict(type="CrossEntropyLoss", loss_weight=1.0),
            dict(type="DiceLoss", loss_weight=1.0, loss_name="loss_dice"),
        ],
    ),
)

train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=2.5e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
)
param_scheduler = [
    dict(type="CosineRestartLR", by_epoch=True, periods=[10, 20], restart_weights=[1.0, 1.0], eta_min=0.0)
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=1, save_best="mFscore", max_keep_ckpts=2),
)
