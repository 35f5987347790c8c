"""Whole models: what a config's ``model`` names."""

from foveal.models.data_preprocessor import DataPreprocessor, DetDataPreprocessor, SegDataPreProcessor

__all__ = ["DataPreprocessor", "DetDataPreprocessor", "SegDataPreProcessor"]
