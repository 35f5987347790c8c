"""RetinaNet's head on EfficientNet-B0 and three BiFPN exchanges on COCO, 12 epochs; ours (arXiv:1911.09070).

    python tools/train.py configs/efficientdet/retinanet_effb0_bifpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. Score: not measured. The sizes are those of EfficientDet-D0; the schedule is RetinaNet's.
"""

_base_ = [
    "../_base_/models/retinanet_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(type="TimmBackbone", model_name="efficientnet_b0", out_indices=(2, 3, 4), pretrained=True),
    neck=dict(_delete_=True, type="BiFPN", num_stages=3, out_channels=64),
    bbox_head=dict(stacked_convs=3, feat_channels=64),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
