"""Mask2Former (arXiv:2112.01527) with ResNet-50 on ADE20K, 160k iterations.

    python tools/train.py configs/mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. mmseg reports mIoU 47.87. Numbers: the config of this name of open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/mask2former_ade20k.py",
    "../_base_/datasets/ade20k_512x512_shortest.py",
    "../_base_/schedules/mask2former_160k.py",
]

model = dict(
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=dict(type="SyncBN", requires_grad=False),
        norm_eval=False,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
)
