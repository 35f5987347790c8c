"""Classification."""

from foveal.heads.classification.cls_head import ClsHead, LinearClsHead
from foveal.heads.classification.label_smooth import LabelSmoothLoss

__all__ = ["ClsHead", "LabelSmoothLoss", "LinearClsHead"]
