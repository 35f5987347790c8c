"""Mamba-YOLO-T for the 80 classes of COCO; a config changes the size."""

model = dict(
    type="MambaYOLO",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type="ODMamba", arch="t"),
    neck=dict(type="MambaYOLOPAFPN", num_scans=1),
    bbox_head=dict(type="YOLOv8Head", num_classes=80, strides=(8, 16, 32)),
    train_cfg=dict(assigner=dict(type="BatchTaskAlignedAssigner", topk=10, alpha=0.5, beta=6.0)),
    test_cfg=dict(
        nms_pre=30000,
        score_thr=0.001,
        nms=dict(type="nms", iou_threshold=0.7),
        max_per_img=300,
    ),
)
