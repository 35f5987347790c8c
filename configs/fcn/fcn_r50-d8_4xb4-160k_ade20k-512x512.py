"""FCN (arXiv:1411.4038) with ResNet-50 on ADE20K, 160k iterations.

    python tools/train.py configs/fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py --launcher pytorch

Four GPUs, four images each. mmseg reports mIoU 36.10. Numbers: the config of this name of open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/dilated_r50_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/sgd_160k.py",
]

model = dict(decode_head=dict(type="FCNHead", in_index=3, num_convs=2, concat_input=True))
train_dataloader = dict(batch_size=4)
