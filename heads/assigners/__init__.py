"""Assigners."""

from foveal.heads.assigners.assign_result import AssignResult
from foveal.heads.assigners.atss_assigner import ATSSAssigner
from foveal.heads.assigners.batch_task_aligned_assigner import BatchTaskAlignedAssigner
from foveal.heads.assigners.dynamic_soft_label_assigner import DynamicSoftLabelAssigner
from foveal.heads.assigners.hungarian_assigner import HungarianAssigner
from foveal.heads.assigners.iou_calculator import BboxOverlaps2D
from foveal.heads.assigners.match_cost import (
    BBoxL1Cost,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    FocalLossCost,
    IoUCost,
)
from foveal.heads.assigners.max_iou_assigner import MaxIoUAssigner
from foveal.heads.assigners.sim_ota_assigner import SimOTAAssigner

__all__ = [
    "ATSSAssigner",
    "AssignResult",
    "BBoxL1Cost",
    "BatchTaskAlignedAssigner",
    "BboxOverlaps2D",
    "ClassificationCost",
    "CrossEntropyLossCost",
    "DiceCost",
    "DynamicSoftLabelAssigner",
    "FocalLossCost",
    "HungarianAssigner",
    "IoUCost",
    "MaxIoUAssigner",
    "SimOTAAssigner",
]
