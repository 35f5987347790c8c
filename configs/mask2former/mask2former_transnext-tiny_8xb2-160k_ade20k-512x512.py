"""Mask2Former with TransNeXt-Tiny on ADE20K, 160k iterations (arXiv:2311.17132).

    python tools/train.py configs/mask2former/mask2former_transnext-tiny_8xb2-160k_ade20k-512x512.py --launcher pytorch

Eight GPUs, two images each. The authors report mIoU 53.4. Numbers:
segmentation/mask2former/configs/mask2former_transnext_tiny_160k_ade20k-512x512.py of DaiShiResearch/TransNeXt.
"""

_base_ = [
    "../_base_/models/mask2former_ade20k.py",
    "../_base_/datasets/ade20k_512x512_shortest.py",
    "../_base_/schedules/mask2former_160k.py",
]

model = dict(
    backbone=dict(type="TransNeXt", arch="tiny", task="segmentation", drop_path_rate=0.3),
    pretrained="https://huggingface.co/DaiShiResearch/transnext-tiny-224-1k/resolve/main/transnext_tiny_224_1k.pth",
)
slow = dict(lr_mult=0.1)
slow_without_decay = dict(lr_mult=0.1, decay_mult=0.0)
queries = dict(lr_mult=1.0, decay_mult=0.0)
layers = [f"attn.{name}" for name in ("q", "kv", "qkv", "sr", "proj")] + ["mlp.fc1", "mlp.fc2", "mlp.dwconv.dwconv"]
# the authors' keys leave the last stage's patch embedding and norm at the full rate
layers += [f"backbone.patch_embed{i}.proj" for i in (1, 2, 3)]
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={
            **{f"{name}.weight": slow for name in layers},
            "attn.learnable": slow,
            **{f"{name}.bias": slow_without_decay for name in layers},
            **{
                name: slow_without_decay
                for name in ("attn.query_embedding", "relative_pos_bias_local", "cpb", "temperature", "attn.norm")
            },
            **{f"backbone.norm{i}": slow_without_decay for i in (1, 2, 3)},
            **{f"backbone.patch_embed{i}.norm": slow_without_decay for i in (1, 2, 3)},
            **{
                f"backbone.block{i}.{j}.norm": slow_without_decay
                for i, depth in ((1, 2), (2, 2), (3, 15), (4, 2))
                for j in range(depth)
            },
            "decode_head.query_embed": queries,
            "decode_head.query_feat": queries,
            "decode_head.level_embed": queries,
        },
        bias_decay_mult=0.0,
        norm_decay_mult=0.0,
        flat_decay_mult=0.0,
    ),
)
