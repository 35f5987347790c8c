"""What travels between data, models, metrics and pictures."""

from foveal.structures.data_sample import DataSample

__all__ = ["DataSample"]
