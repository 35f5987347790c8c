"""Which operators of ONNX TensorRT's parser takes, and what it refuses or computes wrongly all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SOURCE = "docs/operators.md of github.com/onnx/onnx-tensorrt at 96e7811 (release 10.1), opset 9 to 20"
# Whoever raises the opset meets modes of GridSample that TensorRT takes for others (NVIDIA/TensorRT issue 4646).
LAST_OPSET = 19
LARGEST_TOPK = 3839

SUPPORTED = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
    "BatchNormalization", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape",
    "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DeformConv", "DepthToSpace", "DequantizeLinear", "Div",
    "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather",
    "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater",
    "GreaterOrEqual", "GridSample", "GroupNormalization", "GRU", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
    "If", "ImageScaler", "InstanceNormalization", "IsInf", "IsNaN", "LayerNormalization", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "Loop", "LRN", "LSTM", "LpNormalization", "LpPool", "MatMul", "Max",
    "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mod", "Mul", "Neg", "NonMaxSuppression",
    "NonZero", "Not", "OneHot", "Or", "Pad", "ParametricSoftplus", "Pow", "PRelu", "QuantizeLinear", "RandomNormal",
    "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "Reciprocal", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "RNN", "RoiAlign", "Round", "ScaledTanh",
    "Scan", "Scatter", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Upsample", "Where", "Xor",
))  # fmt: skip


def problems(proto: Any) -> Iterator[str]:
    """Yield a phrase for each thing in an ONNX model that TensorRT does not take: operator, layer and reason.

    Args:
        proto: ``onnx.ModelProto``.
    """
    import onnx

    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    graph = proto.graph
    numbers = {x.name: onnx.numpy_helper.to_array(x) for x in graph.initializer if len(x.dims) < 2}
    for node in _nodes(graph):
        where = f"{node.op_type} at {layer(node)}"
        options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.domain not in ("", "ai.onnx"):
            yield f"{where}: operators of {node.domain} are not ONNX's own"
        elif node.op_type not in SUPPORTED:
            yield f"{where}: not among the operators of {SOURCE}"
        elif node.op_type == "GridSample" and opset > LAST_OPSET:
            yield f"{where}: opset {opset}, from 20 on its modes are misread"
        elif node.op_type == "Resize" and options.get("antialias"):
            yield f"{where}: antialias"
        elif node.op_type == "TopK" and _largest(numbers.get(node.input[1])) > LARGEST_TOPK:
            yield f"{where}: k is {_largest(numbers[node.input[1]])}, at most {LARGEST_TOPK} are sorted"
        elif node.op_type in ("ScatterND", "ScatterElements") and options.get("reduction", b"none") != b"none":
            yield f"{where}: reduction {options['reduction'].decode()}"


def _largest(numbers: Any) -> int:
    """The largest of an array's whole numbers; 0 for None, which is not known before the graph runs."""
    return 0 if numbers is None else int(numbers.max())


def layer(node: Any) -> str:
    """Return the module that a node comes from, as torch's exporter notes it; else the node's name."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    scopes = notes.get("pkg.torch.onnx.name_scopes", "")
    names = [name.strip("' ") for name in scopes.strip("[]").split(",")]
    # the last is the operation's own name, the one before the module that it stands in
    return names[-2] if len(names) > 1 and names[-2] else node.name


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the bodies of its branches and loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
