"""Whole models: what a config's ``model`` names."""

from foveal.models.classifier import ImageClassifier
from foveal.models.data_preprocessor import DataPreprocessor, DetDataPreprocessor, SegDataPreProcessor
from foveal.models.detector import SingleStageDetector
from foveal.models.restorer import Restorer
from foveal.models.segmentor import EncoderDecoder

__all__ = [
    "DataPreprocessor",
    "DetDataPreprocessor",
    "EncoderDecoder",
    "ImageClassifier",
    "Restorer",
    "SegDataPreProcessor",
    "SingleStageDetector",
]
