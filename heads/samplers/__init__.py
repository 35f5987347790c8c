"""Samplers."""

from foveal.heads.samplers.ohem_pixel_sampler import OHEMPixelSampler
from foveal.heads.samplers.pseudo_sampler import PseudoSampler
from foveal.heads.samplers.random_sampler import RandomSampler

__all__ = ["OHEMPixelSampler", "PseudoSampler", "RandomSampler"]
