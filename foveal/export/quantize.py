"""INT8 after training, by onnxruntime: ranges from images, weights a channel at a time, Q/DQ pairs in the graph."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foveal.errors import ExportError
from foveal.export.logarithm import with_logarithms

# where nearly all of the time goes; the rest stays in float32
OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def quantized(proto: Any, images: Sequence[np.ndarray], symmetric: bool, log_bits: int | None = None) -> Any:
    """Return an ONNX model whose convolutions and matrix products compute in int8.

    The first and the last one stay in float32, and depthwise convolutions, which lose most and gain least. Weights are
    symmetric; the activations' ranges are the means of the images' extremes.

    Args:
        proto: ``onnx.ModelProto`` in float32, with the input ``images``.
        images: [N, C, H, W] each, as the network takes them; some dozens that look like those to come.
        symmetric: Activations have the zero point 0, which TensorRT wants, and lose more. False: uint8 with any.
        log_bits: Give activations after softmax and GELU AdaLog's logarithmic codes of so many bits, see
            `foveal.export.logarithm`. None: uniform ones as everywhere.

    Raises:
        ExportError: If there is no image, or onnxruntime is missing or cannot quantise the model.
    """
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise ExportError("int8 needs the package onnxruntime: pip install 'foveal[onnx]'") from error
    import onnx

    if log_bits is not None and not 2 <= log_bits <= 8:
        raise ExportError(f"logarithmic codes have 2 to 8 bits, got {log_bits}")
    if not len(images):
        raise ExportError("int8 needs images to calibrate with, got none")

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> Any:
            image = next(self.left, None)
            return None if image is None else {"images": image}

    with tempfile.TemporaryDirectory() as folder:
        prepared, result = f"{folder}/prepared.onnx", f"{folder}/int8.onnx"
        try:
            onnx.save(proto, f"{folder}/float.onnx")
            quantization.quant_pre_process(f"{folder}/float.onnx", prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                result,
                Images(),
                op_types_to_quantize=list(OPERATORS),
                nodes_to_exclude=_sensitive(onnx.load(prepared).graph),
                per_channel=True,
                activation_type=quantization.QuantType.QInt8 if symmetric else quantization.QuantType.QUInt8,
                extra_options={
                    "ActivationSymmetric": symmetric,
                    "WeightSymmetric": True,
                    "CalibMovingAverage": True,
                    "QuantizeBias": not symmetric,  # TensorRT has no int32 to dequantise
                },
            )
            found = onnx.load_from_string(Path(result).read_bytes())
            return found if log_bits is None else with_logarithms(found, Path(prepared), images, log_bits)
        except Exception as error:  # onnxruntime raises whatever it stumbles over
            raise ExportError(f"onnxruntime cannot quantise this model: {str(error).splitlines()[0][:300]}") from error


def _sensitive(graph: Any) -> list[str]:
    """Names of the nodes that stay in float32."""
    nodes = [node for node in graph.node if node.op_type in OPERATORS]
    grouped = [node for node in nodes if any(a.name == "group" and a.i > 1 for a in node.attribute)]
    return [node.name for node in (nodes[:1] + nodes[-1:] + grouped)]
