"""Mask R-CNN with TransNeXt-Tiny on COCO, 12 epochs (arXiv:2311.17132).

    python tools/train.py configs/transnext/mask-rcnn_transnext-tiny_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. The authors report box AP 49.9, mask AP 44.6. Numbers:
detection/maskrcnn/configs/mask_rcnn_transnext_tiny_fpn_1x_coco.py of DaiShiResearch/TransNeXt.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

weights = "https://huggingface.co/DaiShiResearch/transnext-tiny-224-1k/resolve/main/transnext_tiny_224_1k.pth"
model = dict(
    backbone=dict(
        type="TransNeXt",
        arch="tiny",
        task="detection",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            name: dict(decay_mult=0.0)
            for name in ("query_embedding", "relative_pos_bias_local", "cpb", "temperature", "norm")
        }
    ),
)
