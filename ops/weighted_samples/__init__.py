"""Weighted sums of bilinear samples: the one kernel under deformable attention, DCNv3 and DCNv4."""

from foveal.ops.weighted_samples.functional import weighted_samples
from foveal.ops.weighted_samples.reference import weighted_samples_reference

__all__ = ["weighted_samples", "weighted_samples_reference"]
