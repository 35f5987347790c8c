"""DeepLabv3 (arXiv:1706.05587) with ResNet-50 on ADE20K, 160k iterations.

    python tools/train.py configs/deeplabv3/deeplabv3_r50-d8_4xb4-160k_ade20k-512x512.py --launcher pytorch

Four GPUs, four images each. mmseg reports mIoU 42.66. Numbers: the config of this name of open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/dilated_r50_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/sgd_160k.py",
]

model = dict(decode_head=dict(type="ASPPHead", in_index=3, dilations=(1, 12, 24, 36)))
train_dataloader = dict(batch_size=4)
