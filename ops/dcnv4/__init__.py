"""DCNv4: DCNv3's places with weights that no softmax bounds; the sum is the same, so is its reference."""

from foveal.ops.dcnv3.reference import dcnv3_reference as dcnv4_reference
from foveal.ops.dcnv4.functional import dcnv4
from foveal.ops.dcnv4.module import DCNv4

__all__ = ["DCNv4", "dcnv4", "dcnv4_reference"]
