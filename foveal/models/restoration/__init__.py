"""Whole restoration networks, image to image, with the key names of their official releases."""

from foveal.models.restoration.cfsr import CFSR
from foveal.models.restoration.edsr import EDSR
from foveal.models.restoration.espcn import ESPCNNet
from foveal.models.restoration.event_demosaic import EventDemosaicNet
from foveal.models.restoration.mambair import MambaIR
from foveal.models.restoration.mambair_unet import MambaIRUNet
from foveal.models.restoration.medfe import MEDFE
from foveal.models.restoration.nafnet import NAFNet
from foveal.models.restoration.serpent import Serpent
from foveal.models.restoration.swinir import SwinIR
from foveal.models.restoration.tcsr import TCSR

__all__ = [
    "CFSR",
    "EDSR",
    "MEDFE",
    "TCSR",
    "ESPCNNet",
    "EventDemosaicNet",
    "MambaIR",
    "MambaIRUNet",
    "NAFNet",
    "Serpent",
    "SwinIR",
]
