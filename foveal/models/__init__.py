"""Whole models: what a config's ``model`` names."""

from foveal.models.data_preprocessor import DataPreprocessor, DetDataPreprocessor, SegDataPreProcessor
from foveal.models.segmentor import EncoderDecoder

__all__ = ["DataPreprocessor", "DetDataPreprocessor", "EncoderDecoder", "SegDataPreProcessor"]
