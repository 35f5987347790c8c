"""UPerNet with MobileNetV2 on ADE20K, 160k iterations; ours: mmseg has it with other heads (arXiv:1801.04381).

    python tools/train.py configs/mobilenet_v2/mobilenet-v2_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. Numbers: those of mmseg's UPerNet with ResNet-50,
configs/upernet/upernet_r50_4xb4-160k_ade20k-512x512.py of open-mmlab/mmsegmentation.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(
        type="MobileNetV2",
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://mobilenet_v2"),
    ),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=160000)]
