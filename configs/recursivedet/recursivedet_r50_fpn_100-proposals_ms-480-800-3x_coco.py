"""RecursiveDet on Sparse R-CNN with ResNet-50 and 100 proposals on COCO, 36 epochs (arXiv:2307.13619).

    python tools/train.py configs/recursivedet/recursivedet_r50_fpn_100-proposals_ms-480-800-3x_coco.py \
        --launcher pytorch

Eight GPUs, two images each. Numbers: ``projects/SparseRCNN/configs/sparsercnn.res50.100pro.3x.yaml`` of
https://github.com/bravezzzzzz/RecursiveDet, which releases no weights.
"""

_base_ = ["../sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py"]

stages = 6
costs = [
    dict(type="FocalLossCost", weight=2.0),
    dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
    dict(type="IoUCost", iou_mode="giou", weight=2.0),
]
model = dict(
    roi_head=dict(type="RecursiveRoIHead", bbox_head=dict(type="RecursiveDIIHead")),
    train_cfg=dict(rcnn=[dict(assigner=dict(type="HungarianAssigner", match_costs=costs))] * stages),
)
train_dataloader = dict(
    dataset=dict(
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="RandomChoiceResize",
                scales=[(1333, short) for short in range(480, 801, 32)],
                keep_ratio=True,
            ),
            dict(type="PackInputs"),
        ],
    ),
)
train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=36, milestones=[28, 33], gamma=0.1),
]
