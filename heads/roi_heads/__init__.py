"""Second stages: from proposals to boxes and masks."""

from foveal.heads.roi_heads.bbox_head import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from foveal.heads.roi_heads.cascade_roi_head import CascadeRoIHead
from foveal.heads.roi_heads.dii_head import DIIHead, DynamicConv
from foveal.heads.roi_heads.mask_head import FCNMaskHead
from foveal.heads.roi_heads.recursive_roi_head import RecursiveDIIHead, RecursiveRoIHead
from foveal.heads.roi_heads.roi_align import RoIAlign
from foveal.heads.roi_heads.roi_extractor import SingleRoIExtractor, bbox2roi
from foveal.heads.roi_heads.sparse_roi_head import EmbeddingRPNHead, SparseRoIHead
from foveal.heads.roi_heads.standard_roi_head import StandardRoIHead

__all__ = [
    "CascadeRoIHead",
    "ConvFCBBoxHead",
    "DIIHead",
    "DynamicConv",
    "EmbeddingRPNHead",
    "FCNMaskHead",
    "RecursiveDIIHead",
    "RecursiveRoIHead",
    "RoIAlign",
    "Shared2FCBBoxHead",
    "Shared4Conv1FCBBoxHead",
    "SingleRoIExtractor",
    "SparseRoIHead",
    "StandardRoIHead",
    "bbox2roi",
]
