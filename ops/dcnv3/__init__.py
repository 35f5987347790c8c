"""DCNv3, InternImage's operator: every group of channels reads kernel_size ** 2 places and adds them up, weighted."""

from foveal.ops.dcnv3.functional import dcnv3
from foveal.ops.dcnv3.module import DCNv3
from foveal.ops.dcnv3.reference import dcnv3_reference

__all__ = ["DCNv3", "dcnv3", "dcnv3_reference"]
