"""Whole restoration networks, image to image, with the key names of their official releases."""

from foveal.models.restoration.cfsr import CFSR
from foveal.models.restoration.espcn import ESPCNNet

__all__ = ["CFSR", "ESPCNNet"]
