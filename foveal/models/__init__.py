"""Whole models: what a config's ``model`` names."""

from foveal.models.batch_augments import BatchFixedSizePad, BatchSyncRandomResize
from foveal.models.classifier import ImageClassifier
from foveal.models.conditional_detr import ConditionalDETR
from foveal.models.data_preprocessor import DataPreprocessor, DetDataPreprocessor, SegDataPreProcessor
from foveal.models.deformable_detr import DINO, DeformableDETR
from foveal.models.depth_estimator import DepthEstimator
from foveal.models.det_tta import DetTTAModel
from foveal.models.detector import SingleStageDetector
from foveal.models.mamba_yolo import MambaYOLO
from foveal.models.mask2former import Mask2Former
from foveal.models.restoration import CFSR, ESPCNNet
from foveal.models.restorer import Restorer
from foveal.models.seg_tta import SegTTAModel
from foveal.models.segmentor import EncoderDecoder
from foveal.models.two_stage import TwoStageDetector

__all__ = [
    "CFSR",
    "DINO",
    "BatchFixedSizePad",
    "BatchSyncRandomResize",
    "ConditionalDETR",
    "DataPreprocessor",
    "DeformableDETR",
    "DepthEstimator",
    "DetDataPreprocessor",
    "DetTTAModel",
    "ESPCNNet",
    "EncoderDecoder",
    "ImageClassifier",
    "MambaYOLO",
    "Mask2Former",
    "Restorer",
    "SegDataPreProcessor",
    "SegTTAModel",
    "SingleStageDetector",
    "TwoStageDetector",
]
