"""A logarithmic quantiser in place of the uniform one after softmax and GELU, whose values crowd near one end.

AdaLog: Post-Training Quantization for Vision Transformers with Adaptive Logarithm Quantizer, Wu et al., ECCV 2024,
arXiv:2407.12951; https://github.com/GoatWu/AdaLog.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# the base is 2^(q / R); R and the shift, which is GELU's minimum, are the official code's
R = 37
GELU_SHIFT = 0.17
SAMPLES = 20_000  # values that are kept of an activation for each image
_PASSED = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity")


@dataclass(frozen=True)
class LogQuantizer:
    """Codes for values from ``-shift`` on: code k stands for ``scale * 2^(-k q / R) - shift``, the last one for 0.

    The official code has a zero beside its 2^bits values; here it is one of them, so that a code fits its bits.

    Args:
        scale: The largest value, shift included.
        q: Of the base, 1 or more; the larger, the wider and coarser.
        shift: What is added before.
        bits: Of a code, 2 to 8.
    """

    scale: float
    q: int
    shift: float = 0.0
    bits: int = 8

    @property
    def table(self) -> np.ndarray:
        """What the codes stand for, float32 [2^bits]."""
        values = self.scale * 2.0 ** (-np.arange(2**self.bits) * self.q / R)
        values[-1] = 0.0
        return (values - self.shift).astype(np.float32)

    @property
    def line(self) -> tuple[float, float]:
        """Slope and intercept of the code, before it is rounded, over the natural logarithm of value plus shift."""
        slope = -R / (self.q * float(np.log(2)))
        return slope, -slope * float(np.log(self.scale))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return values as they are after quantisation, of the same shape."""
        slope, intercept = self.line
        code = np.rint(np.log(np.maximum(values + self.shift, self.floor)) * slope + intercept)
        return self.table[np.clip(code, 0, 2**self.bits - 1).astype(np.int64)]

    @property
    def floor(self) -> float:
        """A value, shift included, that has the code of zero."""
        return self.scale * 2.0 ** (-(2**self.bits) * self.q / R)


def fit(values: np.ndarray, shift: float, bits: int) -> LogQuantizer:
    """Return the quantiser with the least squared error, by the paper's progressive search (Section 3.3).

    Scale and base are tried together on a coarse grid, then on finer ones around the best few. The paper measures the
    error of the product that follows; here it is that of the activation, which is the same for white other factors.

    Args:
        values: Some thousands that the activation has, any shape.
        shift: 0 after softmax; `GELU_SHIFT` after GELU.
        bits: Of a code.
    """
    values = np.asarray(values, np.float64).ravel()
    largest = max(float(values.max()) + shift, 1e-6)

    def error(candidate: tuple[float, int]) -> float:
        made = LogQuantizer(candidate[0], candidate[1], shift, bits)(values)
        return float(np.square(made - values).mean())

    best: list[tuple[float, int]] = []
    scales, bases = np.linspace(0.4, 1.0, 7) * largest, np.unique(np.geomspace(1, 2 * R, 12).astype(int))
    width, reach = float(scales[1] - scales[0]), 6
    candidates = {(float(scale), int(q)) for scale in scales for q in bases}
    for _ in range(4):
        best = sorted({*candidates, *best}, key=error)[:4]
        width, reach = width / 3, max(reach // 2, 1)
        candidates = {
            (scale + i * width, max(1, q + j * reach)) for scale, q in best for i in (-1, 0, 1) for j in (-1, 0, 1)
        }
        candidates = {(scale, q) for scale, q in candidates if scale > 0}
    scale, q = min({*candidates, *best}, key=error)
    return LogQuantizer(scale, q, shift, bits)


def with_logarithms(proto: Any, floating: Path, images: Sequence[np.ndarray], bits: int) -> Any:
    """Return a quantised ONNX model whose activations after softmax and GELU have logarithmic codes.

    In place of each QuantizeLinear and DequantizeLinear there come ONNX's own Log, Round and Gather.

    Args:
        proto: ``onnx.ModelProto`` with such pairs.
        floating: File of the model that it was made from, with the same names.
        images: [N, C, H, W] each.
        bits: Of a code.
    """
    import onnx

    graph = proto.graph
    found = dict(_skewed(graph))
    values = _values(floating, images, list(dict.fromkeys(node.input[0] for node, _ in found.values())))
    inserted: dict[str, list[Any]] = {}
    for output, (quantize, shift) in found.items():
        sample = values[quantize.input[0]]
        if sample.min() + shift > -0.01:  # else it is a product of GELU's and something else
            inserted[output] = list(_nodes(fit(sample, shift, bits), quantize.input[0], output, graph))
    nodes = [new for node in graph.node for new in inserted.get(node.output[0], [node])]
    used = {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.op_type != "QuantizeLinear" or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(proto)
    return proto


def _skewed(graph: Any) -> Iterator[tuple[str, tuple[Any, float]]]:
    """The dequantised tensors of values after softmax or GELU, each with its QuantizeLinear and the shift."""
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        quantize = makers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        origin = makers.get(quantize.input[0])
        while origin is not None and origin.op_type in _PASSED:
            origin = makers.get(origin.input[0])
        if origin is not None and origin.op_type == "Softmax":
            yield node.output[0], (quantize, 0.0)
        elif origin is not None and (origin.op_type == "Gelu" or _is_gelu(origin, makers, 4)):
            yield node.output[0], (quantize, GELU_SHIFT)


def _is_gelu(node: Any, makers: dict[str, Any], steps: int) -> bool:
    """Whether a product comes from an Erf: GELU in ONNX's operators before opset 20."""
    if node is None or steps == 0:
        return False
    if node.op_type == "Erf":
        return True
    return node.op_type in ("Mul", "Add") and any(_is_gelu(makers.get(name), makers, steps - 1) for name in node.input)


def _values(floating: Path, images: Sequence[np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """Values that tensors of a model have for images, `SAMPLES` at most for each image."""
    import onnx
    import onnxruntime

    proto = onnx.load(str(floating))
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for image in images:
        for name, tensor in zip(names, session.run(names, {"images": image}), strict=True):
            flat = tensor.ravel()
            kept[name].append(flat if flat.size <= SAMPLES else draw.choice(flat, SAMPLES, replace=False))
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def _nodes(quantizer: LogQuantizer, name: str, output: str, graph: Any) -> Iterator[Any]:
    """The nodes that compute what calling a quantiser does; its numbers are added to the graph."""
    import onnx
    from onnx import helper, numpy_helper

    slope, intercept = quantizer.line
    numbers = {
        "shift": quantizer.shift,
        "floor": quantizer.floor,
        "slope": slope,
        "intercept": intercept,
        "first": 0,
        "last": 2**quantizer.bits - 1,
        "table": quantizer.table,
    }
    for kind, value in numbers.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), f"{output}/{kind}"))
    steps: list[tuple[str, list[str]]] = [("Add", ["shift"]), ("Max", ["floor"]), ("Log", []), ("Mul", ["slope"])]
    steps += [("Add", ["intercept"]), ("Round", []), ("Clip", ["first", "last"])]
    for number, (kind, constants) in enumerate(steps):
        made = f"{output}/code{number}"
        yield helper.make_node(kind, [name, *(f"{output}/{constant}" for constant in constants)], [made], name=made)
        name = made
    yield helper.make_node("Cast", [name], [f"{output}/code"], name=f"{output}/code", to=onnx.TensorProto.INT32)
    yield helper.make_node("Gather", [f"{output}/table", f"{output}/code"], [output], name=f"{output}/value")
