"""UPerNet with TransNeXt-Tiny on ADE20K, 160k iterations (arXiv:2311.17132).

    python tools/train.py configs/transnext/transnext-tiny_upernet_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 51.1; for their multi-scale figures, 51.5 and 51.7, biases are
resized or, with ``is_extrapolation=True``, made for every size. Numbers:
segmentation/upernet/configs/upernet_transnext_tiny_512x512_160k_ade20k_ss.py of DaiShiResearch/TransNeXt.
"""

_base_ = [
    "../_base_/models/upernet_ade20k.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/adamw_160k.py",
]

model = dict(
    backbone=dict(type="TransNeXt", arch="tiny", task="segmentation", drop_path_rate=0.4),
    pretrained="https://huggingface.co/DaiShiResearch/transnext-tiny-224-1k/resolve/main/transnext_tiny_224_1k.pth",
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            name: dict(decay_mult=0.0)
            for name in ("query_embedding", "relative_pos_bias_local", "cpb", "temperature", "norm")
        }
    ),
)
