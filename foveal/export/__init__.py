"""From a model to a file that runs without Foveal: ONNX, torch.export, TorchScript, OpenVINO, TensorRT."""

from foveal.export.export_model import FORMATS, export_model
from foveal.export.graph import ExportGraph
from foveal.export.runtime import ExportedModel, load_exported
from foveal.export.timing import time_backends

__all__ = ["FORMATS", "ExportGraph", "ExportedModel", "export_model", "load_exported", "time_backends"]
