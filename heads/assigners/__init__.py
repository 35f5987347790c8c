"""Assigners."""

from foveal.heads.assigners.assign_result import AssignResult
from foveal.heads.assigners.iou_calculator import BboxOverlaps2D
from foveal.heads.assigners.max_iou_assigner import MaxIoUAssigner

__all__ = ["AssignResult", "BboxOverlaps2D", "MaxIoUAssigner"]
