"""DINO with four feature maps and TransNeXt-Tiny on COCO, 12 epochs (arXiv:2311.17132).

    python tools/train.py configs/transnext/dino-4scale_transnext-tiny-12e_coco.py --launcher pytorch

Eight GPUs, two images a step in two parts. The authors report box AP 55.1. Numbers:
detection/dino/configs/dino-4scale_transnext_tiny-12e_coco.py of DaiShiResearch/TransNeXt.
"""

_base_ = "../dino/dino-4scale_r50_8xb2-12e_coco.py"

weights = "https://huggingface.co/DaiShiResearch/transnext-tiny-224-1k/resolve/main/transnext_tiny_224_1k.pth"
model = dict(
    backbone=dict(
        _delete_=True,
        type="TransNeXt",
        arch="tiny",
        task="detection",
        drop_path_rate=0.3,
        out_indices=(1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
no_decay = dict(lr_mult=0.1, decay_mult=0.0)
layers = [f"attn.{name}" for name in ("q", "kv", "qkv", "sr", "proj")] + ["mlp.fc1", "mlp.fc2", "mlp.dwconv.dwconv"]
# the authors' keys leave the last stage's patch embedding and norm, and the shorter "cpb", to the key "backbone"
layers += [f"backbone.patch_embed{i}.proj" for i in (1, 2, 3)]
norms = ["attn.norm", *(f"backbone.{name}" for i in (1, 2, 3) for name in (f"norm{i}", f"patch_embed{i}.norm"))]
norms += [f"backbone.block{i}.{j}.norm" for i, depth in ((1, 2), (2, 2), (3, 15), (4, 2)) for j in range(depth)]
optim_wrapper = dict(
    optimizer=dict(betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            **{f"{name}.bias": no_decay for name in layers},
            **{name: no_decay for name in norms},
            **{name: no_decay for name in ("attn.query_embedding", "relative_pos_bias_local", "temperature")},
        },
        bias_decay_mult=0,
        norm_decay_mult=0,
        flat_decay_mult=0,
    ),
    accumulative_counts=2,
)
train_dataloader = dict(batch_size=1)
