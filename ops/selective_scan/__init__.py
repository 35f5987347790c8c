"""Selective scan: the linear recurrence of Mamba, whose step, input and output weights depend on the position."""

from foveal.ops.selective_scan.functional import selective_scan
from foveal.ops.selective_scan.module import SS2D, cross_selective_scan
from foveal.ops.selective_scan.reference import selective_scan_reference

__all__ = ["SS2D", "cross_selective_scan", "selective_scan", "selective_scan_reference"]
