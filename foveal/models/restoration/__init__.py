"""Whole restoration networks, image to image, with the key names of their official releases."""

from foveal.models.restoration.cfsr import CFSR
from foveal.models.restoration.edsr import EDSR
from foveal.models.restoration.espcn import ESPCNNet
from foveal.models.restoration.mambair import MambaIR
from foveal.models.restoration.mambair_unet import MambaIRUNet
from foveal.models.restoration.nafnet import NAFNet
from foveal.models.restoration.swinir import SwinIR

__all__ = ["CFSR", "EDSR", "ESPCNNet", "MambaIR", "MambaIRUNet", "NAFNet", "SwinIR"]
