"""Mask2Former with DiNAT-Tiny on ADE20K, 160k iterations (arXiv:2209.15001, arXiv:2112.01527).

    python tools/train.py configs/mask2former/mask2former_dinat-tiny_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors trained Mask2Former with DiNAT-Large only, so there is no figure to expect. The
backbone is that of their UPerNet, the rest mmseg's Mask2Former with Swin-Tiny.
"""

_base_ = [
    "../_base_/models/mask2former_ade20k.py",
    "../_base_/datasets/ade20k_512x512_shortest.py",
    "../_base_/schedules/mask2former_160k.py",
]

no_decay = dict(lr_mult=0.1, decay_mult=0.0)
model = dict(
    backbone=dict(type="DiNAT", arch="tiny", task="segmentation", drop_path_rate=0.3),
    pretrained="https://shi-labs.com/projects/dinat/checkpoints/imagenet1k/dinat_tiny_in1k_224.pth",
)
# the longest key that a name contains wins, so these are longer than "backbone"
norms = [f".norm{number}.{kind}" for number in ("", 0, 1, 2, 3) for kind in ("weight", "bias")]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict.fromkeys([".attn.rpb", *norms], no_decay)))
