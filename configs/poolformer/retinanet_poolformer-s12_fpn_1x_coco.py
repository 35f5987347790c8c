"""RetinaNet with PoolFormer-S12, timm's network and weights, on COCO, 12 epochs (arXiv:2111.11418).

    python tools/train.py configs/poolformer/retinanet_poolformer-s12_fpn_1x_coco.py --launcher pytorch

Eight GPUs, two images each. The authors report box AP 36.2 with norms on the backbone's outputs, which timm's network
lacks. Numbers: detection/configs/retinanet_poolformer_s12_fpn_1x_coco.py of sail-sg/poolformer.
"""

_base_ = [
    "../_base_/models/retinanet_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/schedules/schedule_1x.py",
]

model = dict(
    backbone=dict(type="TimmBackbone", model_name="poolformer_s12.sail_in1k", out_indices=(1, 2, 3), pretrained=True),
    neck=dict(start_level=0),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, weight_decay=1e-4))
