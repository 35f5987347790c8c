"""Mask R-CNN with UniRepLKNet-T on COCO, 12 epochs; ours: the authors train Cascade (arXiv:2311.15599).

    python tools/train.py configs/unireplknet/mask-rcnn_unireplknet-t_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. Numbers of the optimiser: those of the Cascade Mask R-CNN beside this
one; less drop path for the shorter schedule.
"""

_base_ = [
    "../_base_/models/mask-rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
]

weights = "https://huggingface.co/DingXiaoH/UniRepLKNet/resolve/main/unireplknet_t_in1k_224_acc83.21.pth"
model = dict(
    backbone=dict(
        type="UniRepLKNet", arch="t", drop_path_rate=0.2, init_cfg=dict(type="Pretrained", checkpoint=weights)
    ),
)
optim_wrapper = dict(
    constructor="UniRepLKNetLearningRateDecayOptimizerConstructor",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.8, decay_type="layer_wise", num_layers=12),
)
