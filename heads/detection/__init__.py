"""Detection."""

from foveal.heads.detection.fcos_head import FCOSHead
from foveal.heads.detection.retina_head import RetinaHead

__all__ = ["FCOSHead", "RetinaHead"]
