"""Cascade Mask R-CNN with UniRepLKNet-T on COCO, 36 epochs at many scales (arXiv:2311.15599).

    python tools/train.py configs/unireplknet/cascade-mask-rcnn_unireplknet-t_fpn_ms-3x_coco.py --launcher pytorch

Eight GPUs, two images each. The authors' checkpoint is named after its box AP, 51.75. Numbers:
detection/configs/coco/casc_mask_rcnn_unireplknet_t_in1k_fpn_3x_coco.py of AILab-CVC/UniRepLKNet.
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn_4conv1f-giou_fpn.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/schedule_3x.py",
]

weights = "https://huggingface.co/DingXiaoH/UniRepLKNet/resolve/main/unireplknet_t_in1k_224_acc83.21.pth"
model = dict(
    backbone=dict(
        type="UniRepLKNet", arch="t", drop_path_rate=0.3, init_cfg=dict(type="Pretrained", checkpoint=weights)
    ),
)
optim_wrapper = dict(
    constructor="UniRepLKNetLearningRateDecayOptimizerConstructor",
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.8, decay_type="layer_wise", num_layers=12),
)
