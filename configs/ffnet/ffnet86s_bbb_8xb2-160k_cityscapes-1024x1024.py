"""FFNet-86S-BBB on Cityscapes, 160k iterations (arXiv:2206.08236).

    python tools/train.py configs/ffnet/ffnet86s_bbb_8xb2-160k_cityscapes-1024x1024.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 82.6 and publish weights, which this model loads, but no training
settings: those here are mmseg's for convolutional networks.
"""

_base_ = [
    "../_base_/models/segmentor.py",
    "../_base_/datasets/cityscapes_1024x1024.py",
    "../_base_/schedules/sgd_160k.py",
]

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(type="FFNetResNet", arch="86S"),
    decode_head=dict(
        type="FFNetHead", up_head="B", seg_head="B", num_classes=19, norm_cfg=dict(type="SyncBN"), align_corners=True
    ),
)
