"""FFNet-46NS-CCC for mobile devices on Cityscapes; sees the images at half their size.

    python tools/train.py configs/ffnet/ffnet46ns_ccc-mobile_8xb2-160k_cityscapes-1024x1024.py --launcher pytorch

The authors report mIoU 76.7.
"""

_base_ = "./ffnet86s_bbb_8xb2-160k_cityscapes-1024x1024.py"

model = dict(
    backbone=dict(arch="46NS", pre_downsampling=True),
    decode_head=dict(up_head="C", seg_head="C", up_mode="nearest"),
)
