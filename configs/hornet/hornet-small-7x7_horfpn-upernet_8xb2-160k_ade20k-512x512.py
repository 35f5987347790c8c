"""UPerNet with HorNet-S (7x7) and HorNet's gated head on ADE20K, 160k iterations (arXiv:2207.14284).

    python tools/train.py configs/hornet/hornet-small-7x7_horfpn-upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. Numbers:
semantic_segmentation/configs/horfpn/horfpn_7x7_upernet_hornet_small_7x7_512_160k_ade20k.py of raoyongming/HorNet.
"""

_base_ = ["./hornet-tiny-7x7_upernet_8xb2-160k_ade20k-512x512.py"]

model = dict(
    backbone=dict(
        arch="small_7x7",
        drop_path_rate=0.3,
        init_cfg=dict(checkpoint="https://cloud.tsinghua.edu.cn/f/8ef64277da0e469ea857/?dl=1"),
    ),
    decode_head=dict(gn_conv_cfg=dict(type="gnconv", kernel_size=7, proj_out=True, order=2)),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
