"""CenterNet with ResNet-18 and deformable upsampling on COCO, 140 epochs as 28 of five (arXiv:1904.07850).

    python tools/train.py configs/centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py --launcher pytorch

Eight GPUs, 16 images each. mmdet reports box AP 29.5. Numbers: the config of this name of open-mmlab/mmdetection,
but for the crop: there RandomCenterCropPad, here RandomResize and RandomCrop of the same size and range of scales.
"""

_base_ = ["../_base_/datasets/coco_detection.py", "../_base_/schedules/schedule_1x.py"]

model = dict(
    type="CenterNet",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        norm_eval=False,
        norm_cfg=dict(type="BN"),
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"),
        out_indices=(3,),
    ),
    neck=dict(type="CTResNetNeck", num_deconv_filters=(256, 128, 64), num_deconv_kernels=(4, 4, 4), use_dcn=True),
    bbox_head=dict(
        type="CenterNetHead",
        num_classes=80,
        feat_channels=64,
        loss_center_heatmap=dict(type="GaussianFocalLoss", loss_weight=1.0),
        loss_wh=dict(type="L1Loss", loss_weight=0.1),
        loss_offset=dict(type="L1Loss", loss_weight=1.0),
    ),
    test_cfg=dict(topk=100, local_maximum_kernel=3, max_per_img=100),
)
train_dataloader = dict(
    batch_size=16,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=5,
        dataset=dict(
            type="CocoDataset",
            data_root="data/coco",
            ann_file="annotations/instances_train2017.json",
            data_prefix=dict(img="train2017"),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True),
                dict(type="PhotoMetricDistortion"),
                dict(type="RandomResize", scale=(512, 512), ratio_range=(0.6, 1.3), keep_ratio=True),
                dict(type="RandomCrop", crop_size=(512, 512)),
                dict(type="Pad", size=(512, 512)),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PackInputs"),
            ],
        ),
    ),
)
train_cfg = dict(max_epochs=28)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", begin=0, end=28, by_epoch=True, milestones=[18, 24], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
