"""Detection."""

from foveal.heads.detection.atss_head import ATSSHead
from foveal.heads.detection.bvr_head import BVRHead
from foveal.heads.detection.centernet_head import CenterNetHead
from foveal.heads.detection.conditional_detr_head import ConditionalDETRHead
from foveal.heads.detection.deformable_detr_head import DeformableDETRHead
from foveal.heads.detection.dino_head import DINOHead
from foveal.heads.detection.fcos_head import FCOSHead
from foveal.heads.detection.keypoint_head import KeypointHead, PointKptAssigner
from foveal.heads.detection.retina_head import RetinaHead
from foveal.heads.detection.rpn_head import RPNHead
from foveal.heads.detection.rtmdet_head import RTMDetSepBNHead
from foveal.heads.detection.rtmdet_ins_head import RTMDetInsSepBNHead
from foveal.heads.detection.ssd_head import SSDHead
from foveal.heads.detection.yolov8_head import YOLOv8Head
from foveal.heads.detection.yolox_head import YOLOXHead

__all__ = [
    "ATSSHead",
    "BVRHead",
    "CenterNetHead",
    "ConditionalDETRHead",
    "DINOHead",
    "DeformableDETRHead",
    "FCOSHead",
    "KeypointHead",
    "PointKptAssigner",
    "RPNHead",
    "RTMDetInsSepBNHead",
    "RTMDetSepBNHead",
    "RetinaHead",
    "SSDHead",
    "YOLOXHead",
    "YOLOv8Head",
]
